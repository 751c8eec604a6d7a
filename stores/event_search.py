"""The search for a page of events, the same on every database but for how it checks a single row.

Conditions that an index serves bound the search. What no index can serve (wildcards inside a pattern, the payload) is
checked row by row, for at most ``SCANNED_AT_MOST`` rows a page: such a page may be short and yet not the last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import orjson

from router_client.errors import InvalidInput
from router_client.topics import check_pattern, is_literal
from stores.cursor import check_limit, read_cursor, write_cursor
from stores.moments import micros
from stores.ports import EventPage, EventQuery, StoredEvent
from stores.text import is_storable
from stores.topic_range import topic_range

COLUMNS = "accepted_at, id, type, source, correlation_id, priority, body"
SCANNED_AT_MOST = 10_000

Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Sequence[Any]]]]


class Condition(NamedTuple):
    """Part of a WHERE clause, with ``?`` where its values go."""

    sql: str
    values: tuple[Any, ...] = ()


async def search(query: EventQuery, checks: Sequence[Condition], fetch: Fetch) -> EventPage:
    """Return one page of what ``query`` and the row by row ``checks`` let through; ``fetch`` runs a statement.

    Raises InvalidInput for a bad cursor, limit or pattern.
    """
    check_limit(query.limit)
    conditions = _searched(query)
    if conditions is None:
        return EventPage([], None)
    end = None
    if checks:
        ends = await fetch(*_select("accepted_at, id", query, conditions, f"1 OFFSET {SCANNED_AT_MOST - 1}"))
        if ends:
            end = (int(ends[0][0]), str(ends[0][1]))
            conditions.append(Condition(f"(accepted_at, id) {'>=' if query.descending else '<='} (?, ?)", end))
    rows = await fetch(*_select(COLUMNS, query, [*conditions, *checks], str(query.limit + 1)))
    events = [StoredEvent(*row) for row in rows[: query.limit]]
    if len(rows) > query.limit:
        end = (events[-1].accepted_at_us, events[-1].id)
    return EventPage(events, write_cursor(*end) if end else None)


def row_regex(query: EventQuery) -> str | None:
    """Return the regular expression that types must match, or None when their range says it all."""
    if query.type is None or is_literal(check_pattern(query.type, "type")):
        return None
    return topic_range(query.type).regex


def wanted_payload(query: EventQuery) -> str | None:
    """Return, as JSON, what payloads must contain, or None. Raises InvalidInput for what JSON cannot say."""
    if query.payload is None:
        return None
    try:
        return orjson.dumps(query.payload).decode()
    except TypeError as error:
        raise InvalidInput(f"not representable as JSON: {error}", field="payload") from error


def _searched(query: EventQuery) -> list[Condition] | None:
    """Return what an index can serve; None when no event can meet it."""
    texts = {"correlation_id": query.correlation_id, "source": query.source}
    if not all(is_storable(text) for text in (*texts.values(), query.type) if text is not None):
        return None
    found = [Condition(f"{column} = ?", (text,)) for column, text in texts.items() if text is not None]
    if query.type is not None:
        found += _typed(check_pattern(query.type, "type"))
    if query.since is not None:
        found.append(Condition("accepted_at >= ?", (micros(query.since),)))
    if query.until is not None:
        found.append(Condition("accepted_at < ?", (micros(query.until),)))
    if query.cursor is not None:
        order = "<" if query.descending else ">"
        found.append(Condition(f"(accepted_at, id) {order} (?, ?)", read_cursor(query.cursor)))
    return found


def _typed(pattern: str) -> list[Condition]:
    if is_literal(pattern):
        return [Condition("type = ?", (pattern,))]
    topics = topic_range(pattern)
    return [Condition("type >= ? AND type < ?", (topics.low, topics.high))] if topics.high is not None else []


def _select(columns: str, query: EventQuery, conditions: Sequence[Condition], limit: str) -> tuple[str, list[Any]]:
    where = f"WHERE {' AND '.join(condition.sql for condition in conditions)} " if conditions else ""
    order = "DESC" if query.descending else "ASC"
    sql = f"SELECT {columns} FROM events {where}ORDER BY accepted_at {order}, id {order} LIMIT {limit}"
    return sql, [value for condition in conditions for value in condition.values]
