"""Stored events in SQLite."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from router_client.topics import is_literal
from stores.containment import contains
from stores.cursor import check_limit, read_cursor, write_cursor
from stores.moments import micros
from stores.ports import EventPage, EventQuery, StoredEvent
from stores.sqlite.connection import SqliteConnection
from stores.topic_range import topic_range

COLUMNS = "accepted_at, id, type, source, correlation_id, priority, body"
SCANNED_AT_MOST = 10_000


class SqliteEvents:
    """EventStore on SQLite. Patterns and payloads are checked row by row: at most ``SCANNED_AT_MOST`` a page."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def save(self, events: Sequence[StoredEvent]) -> int:
        """See EventStore."""
        return await self._connection.write_many(
            f"INSERT OR IGNORE INTO events ({COLUMNS}) VALUES (?,?,?,?,?,?,?)", events
        )

    async def load(self, event_id: str) -> StoredEvent | None:
        """See EventStore."""
        rows = await self._connection.read(
            f"SELECT {COLUMNS} FROM events WHERE id = ? ORDER BY accepted_at LIMIT 1", (event_id,)
        )
        return StoredEvent(*rows[0]) if rows else None

    async def query(self, query: EventQuery) -> EventPage:
        """See EventStore."""
        check_limit(query.limit)
        where, values, regex = _conditions(query)
        by_rows = regex is not None or query.payload is not None
        most = SCANNED_AT_MOST if by_rows else query.limit + 1
        order = "DESC" if query.descending else "ASC"
        rows = await self._connection.read(
            f"SELECT {COLUMNS} FROM events {where} ORDER BY accepted_at {order}, id {order} LIMIT ?", (*values, most)
        )
        found: list[StoredEvent] = []
        for number, row in enumerate(rows, 1):
            event = StoredEvent(*row)
            if (regex is None or regex.search(event.type)) and _has(event, query.payload):
                found.append(event)
            if len(found) == query.limit:
                more = number < len(rows) or len(rows) == most
                return EventPage(found, write_cursor(event.accepted_at_us, event.id) if more else None)
        if len(rows) == most:
            return EventPage(found, write_cursor(rows[-1][0], rows[-1][1]))
        return EventPage(found, None)

    async def delete(self, event_ids: Sequence[str]) -> int:
        """See EventStore."""
        return await self._connection.write_many("DELETE FROM events WHERE id = ?", [(i,) for i in event_ids])

    async def count(self) -> int:
        """See EventStore."""
        return int((await self._connection.read("SELECT count(*) FROM events"))[0][0])

    async def ping(self) -> None:
        """See EventStore."""
        await self._connection.read("SELECT 1")


def _conditions(query: EventQuery) -> tuple[str, list[Any], re.Pattern[str] | None]:
    parts: list[str] = []
    values: list[Any] = []
    regex = None

    def add(condition: str, *given: Any) -> None:
        parts.append(condition)
        values.extend(given)

    for column, wanted in (("correlation_id", query.correlation_id), ("source", query.source)):
        if wanted is not None:
            add(f"{column} = ?", wanted)
    if query.type is not None and is_literal(query.type):
        add("type = ?", query.type)
    elif query.type is not None:
        topics = topic_range(query.type)
        if topics.high is not None:
            add("type >= ? AND type < ?", topics.low, topics.high)
        regex = re.compile(topics.regex) if topics.regex else None
    if query.since is not None:
        add("accepted_at >= ?", micros(query.since))
    if query.until is not None:
        add("accepted_at < ?", micros(query.until))
    if query.cursor is not None:
        add(f"(accepted_at, id) {'<' if query.descending else '>'} (?, ?)", *read_cursor(query.cursor))
    return ("WHERE " + " AND ".join(parts) if parts else ""), values, regex


def _has(event: StoredEvent, payload: Any) -> bool:
    return payload is None or contains(orjson.loads(event.body)["payload"], payload)
