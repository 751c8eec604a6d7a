"""Stored events in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from stores.containment import contains
from stores.errors import StoreRejected
from stores.event_search import COLUMNS, Condition, row_regex, search, wanted_payload
from stores.ports import EventPage, EventQuery, StoredEvent
from stores.postgres.connection import PostgresConnection
from stores.text import is_storable

INSERT = (
    f"INSERT INTO events ({COLUMNS}) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],"
    " $6::smallint[], $7::bytea[]) ON CONFLICT DO NOTHING"
)
# jsonb cannot hold the character NUL, so a body with its escape (those six bytes) is never cast but checked in Python.
NUL_ESCAPE = b"\\u0000"
HAS_NUL = f"position('\\x{NUL_ESCAPE.hex()}'::bytea in body) > 0"
CONTAINED = f"CASE WHEN {HAS_NUL} THEN true ELSE convert_from(body, 'UTF8')::jsonb -> 'payload' @> ?::jsonb END"


class PostgresEvents:
    """EventStore on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def save(self, events: Sequence[StoredEvent]) -> int:
        """See EventStore. Rows go in by key: two nodes that save the same events never deadlock.

        COPY costs a node a third of what INSERT does, and knows no ON CONFLICT: a batch with rows that are there
        already is refused, and sorted out by INSERT.
        """
        if not events:
            return 0
        rows = sorted(events)
        try:
            await self._connection.copy("events", COLUMNS.split(", "), rows)
        except StoreRejected:
            return await self._connection.execute(INSERT, *zip(*rows, strict=True))
        return len(rows)

    async def load(self, event_id: str) -> StoredEvent | None:
        """See EventStore."""
        if not is_storable(event_id):
            return None
        rows = await self._connection.fetch(
            f"SELECT {COLUMNS} FROM events WHERE id = $1 ORDER BY accepted_at LIMIT 1", event_id
        )
        return StoredEvent(*rows[0]) if rows else None

    async def query(self, query: EventQuery) -> EventPage:
        """See EventStore. At most ``event_search.SCANNED_AT_MOST`` events are looked at for one page."""
        page = await search(query, _checks(query), self._connection.fetch_marked)
        if query.payload is None:
            return page
        return page._replace(events=[event for event in page.events if _has(event, query.payload)])

    async def delete(self, event_ids: Sequence[str]) -> int:
        """See EventStore."""
        wanted = [event_id for event_id in event_ids if is_storable(event_id)]
        return await self._connection.execute("DELETE FROM events WHERE id = ANY($1::text[])", wanted)

    async def count(self) -> int:
        """See EventStore."""
        return int((await self._connection.fetch("SELECT count(*) FROM events"))[0][0])

    async def ping(self) -> None:
        """See EventStore."""
        await self._connection.fetch("SELECT 1")


def _checks(query: EventQuery) -> list[Condition]:
    checks = []
    regex, payload = row_regex(query), wanted_payload(query)
    if regex is not None:
        checks.append(Condition("type ~ ?", (regex,)))
    if payload is not None:
        cannot_be_jsonb = NUL_ESCAPE.decode() in payload
        checks.append(Condition(HAS_NUL) if cannot_be_jsonb else Condition(CONTAINED, (payload,)))
    return checks


def _has(event: StoredEvent, payload: Any) -> bool:
    return NUL_ESCAPE not in event.body or contains(orjson.loads(event.body).get("payload"), payload)
