"""Stored events in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from router_client.topics import is_literal
from stores.cursor import check_limit, read_cursor, write_cursor
from stores.moments import micros
from stores.ports import EventPage, EventQuery, StoredEvent
from stores.postgres.connection import PostgresConnection
from stores.topic_range import topic_range

COLUMNS = "accepted_at, id, type, source, correlation_id, priority, body"
INSERT = (
    f"INSERT INTO events ({COLUMNS}) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],"
    " $6::smallint[], $7::bytea[]) ON CONFLICT DO NOTHING"
)
# jsonb cannot hold the character NUL, so a body with its escape (those six bytes) is never cast: it contains nothing.
CONTAINED = (
    "CASE WHEN position('\\x5c7530303030'::bytea in body) = 0"
    " THEN convert_from(body, 'UTF8')::jsonb -> 'payload' @> {}::jsonb ELSE false END"
)


class PostgresEvents:
    """EventStore on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def save(self, events: Sequence[StoredEvent]) -> int:
        """See EventStore."""
        return await self._connection.execute(INSERT, *zip(*events, strict=True)) if events else 0

    async def load(self, event_id: str) -> StoredEvent | None:
        """See EventStore."""
        rows = await self._connection.fetch(
            f"SELECT {COLUMNS} FROM events WHERE id = $1 ORDER BY accepted_at LIMIT 1", event_id
        )
        return StoredEvent(*rows[0]) if rows else None

    async def query(self, query: EventQuery) -> EventPage:
        """See EventStore."""
        check_limit(query.limit)
        where, values = _conditions(query)
        order = "DESC" if query.descending else "ASC"
        rows = await self._connection.fetch(
            f"SELECT {COLUMNS} FROM events {where} ORDER BY accepted_at {order}, id {order} LIMIT {query.limit + 1}",
            *values,
        )
        events = [StoredEvent(*row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        return EventPage(events, write_cursor(events[-1].accepted_at_us, events[-1].id) if more else None)

    async def delete(self, event_ids: Sequence[str]) -> int:
        """See EventStore."""
        return await self._connection.execute("DELETE FROM events WHERE id = ANY($1::text[])", list(event_ids))

    async def count(self) -> int:
        """See EventStore."""
        return int((await self._connection.fetch("SELECT count(*) FROM events"))[0][0])

    async def ping(self) -> None:
        """See EventStore."""
        await self._connection.fetch("SELECT 1")


def _conditions(query: EventQuery) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []

    def place(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    for column, wanted in (("correlation_id", query.correlation_id), ("source", query.source)):
        if wanted is not None:
            parts.append(f"{column} = {place(wanted)}")
    if query.type is not None and is_literal(query.type):
        parts.append(f"type = {place(query.type)}")
    elif query.type is not None:
        topics = topic_range(query.type)
        if topics.high is not None:
            parts.append(f"type >= {place(topics.low)} AND type < {place(topics.high)}")
        if topics.regex is not None:
            parts.append(f"type ~ {place(topics.regex)}")
    if query.since is not None:
        parts.append(f"accepted_at >= {place(micros(query.since))}")
    if query.until is not None:
        parts.append(f"accepted_at < {place(micros(query.until))}")
    if query.payload is not None:
        parts.append(CONTAINED.format(place(orjson.dumps(query.payload).decode())))
    if query.cursor is not None:
        accepted_at, event_id = read_cursor(query.cursor)
        parts.append(f"(accepted_at, id) {'<' if query.descending else '>'} ({place(accepted_at)}, {place(event_id)})")
    return ("WHERE " + " AND ".join(parts) if parts else ""), values
