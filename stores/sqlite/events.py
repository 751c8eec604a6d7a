"""Stored events in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from stores.event_search import COLUMNS, Condition, row_regex, search, wanted_payload
from stores.ports import EventPage, EventQuery, StoredEvent
from stores.sqlite.connection import SqliteConnection
from stores.text import is_storable

INSERT = f"INSERT OR IGNORE INTO events ({COLUMNS}) VALUES (?,?,?,?,?,?,?)"


class SqliteEvents:
    """EventStore on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def save(self, events: Sequence[StoredEvent]) -> int:
        """See EventStore."""
        return await self._connection.transaction([(INSERT, events)]) if events else 0

    async def load(self, event_id: str) -> StoredEvent | None:
        """See EventStore."""
        if not is_storable(event_id):
            return None
        rows = await self._connection.read(
            f"SELECT {COLUMNS} FROM events WHERE id = ? ORDER BY accepted_at LIMIT 1", (event_id,)
        )
        return StoredEvent(*rows[0]) if rows else None

    async def query(self, query: EventQuery) -> EventPage:
        """See EventStore. At most ``event_search.SCANNED_AT_MOST`` events are looked at for one page."""
        return await search(query, _checks(query), self._connection.read)

    async def delete(self, event_ids: Sequence[str]) -> int:
        """See EventStore."""
        wanted = [(event_id,) for event_id in event_ids if is_storable(event_id)]
        return await self._connection.transaction([("DELETE FROM events WHERE id = ?", wanted)])

    async def count(self) -> int:
        """See EventStore."""
        return int((await self._connection.read("SELECT count(*) FROM events"))[0][0])

    async def ping(self) -> None:
        """See EventStore."""
        await self._connection.read("SELECT 1")


def _checks(query: EventQuery) -> list[Condition]:
    checks = []
    regex, payload = row_regex(query), wanted_payload(query)
    if regex is not None:
        checks.append(Condition("type REGEXP ?", (regex,)))
    if payload is not None:
        checks.append(Condition("payload_has(body, ?)", (payload,)))
    return checks
