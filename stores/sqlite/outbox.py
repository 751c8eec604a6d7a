"""Events acknowledged as stored and not settled yet, in SQLite."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson

from stores.event_search import COLUMNS
from stores.ports import Owed, StoredEvent
from stores.sqlite.connection import SqliteConnection
from stores.sqlite.events import INSERT

OWE = "INSERT OR IGNORE INTO outbox (slot, generation, sequence, accepted_at, id) VALUES (?,?,?,?,?)"
LOAD = f"""
SELECT slot, generation, sequence, {COLUMNS} FROM outbox JOIN events USING (accepted_at, id)
WHERE slot IN (SELECT value FROM json_each(?)) AND generation < ? AND (accepted_at, id) > (?, ?)
ORDER BY accepted_at, id LIMIT ?
"""


class SqliteOutbox:
    """Outbox on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def save(self, events: Sequence[StoredEvent], owed: Sequence[Owed]) -> None:
        """See Outbox."""
        rows = [(o.slot, o.generation, o.sequence, o.event.accepted_at_us, o.event.id) for o in owed]
        await self._connection.transaction([(INSERT, events), (OWE, rows)])

    async def load(self, slots: Collection[int], before_generation: int, limit: int, after: Owed | None) -> list[Owed]:
        """See Outbox."""
        at, event_id = (after.event.accepted_at_us, after.event.id) if after else (-1, "")
        wanted = orjson.dumps(list(slots)).decode()
        rows = await self._connection.read(LOAD, (wanted, before_generation, at, event_id, limit))
        return [Owed(row[0], row[1], row[2], StoredEvent(*row[3:])) for row in rows]

    async def remove(self, keys: Sequence[tuple[int, str]]) -> int:
        """See Outbox."""
        return await self._connection.transaction([("DELETE FROM outbox WHERE accepted_at = ? AND id = ?", keys)])

    async def stored(self, event_ids: Collection[str]) -> set[str]:
        """See Outbox."""
        wanted = orjson.dumps(list(event_ids)).decode()
        rows = await self._connection.read(
            "SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
        )
        return {row[0] for row in rows}

    async def count(self) -> int:
        """See Outbox."""
        return int((await self._connection.read("SELECT count(*) FROM outbox"))[0][0])
