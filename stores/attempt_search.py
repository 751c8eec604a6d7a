"""The search for a page of logged attempts, the same on every database.

Event, subscription and time are served by indexes. An outcome is looked for among at most ``SCANNED_AT_MOST`` attempts
a page: such a page may be short and yet not the last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from stores.attempts import Attempt, AttemptPage, AttemptQuery, LoggedAttempt
from stores.cursor import check_limit, read_cursor, write_cursor
from stores.moments import micros
from stores.text import is_storable

NAMES = ("node", "at", *Attempt._fields[1:])
COLUMNS = ", ".join(NAMES)
SCANNED_AT_MOST = 10_000

Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Sequence[Any]]]]


async def search(query: AttemptQuery, fetch: Fetch) -> AttemptPage:
    """Return one page; ``fetch`` runs a statement, with ``?`` where its values go.

    Raises InvalidInput for a bad cursor or limit.
    """
    check_limit(query.limit)
    after = read_cursor(query.cursor) if query.cursor is not None else None
    texts = (query.event_id, query.subscription, query.outcome)
    if not all(is_storable(text) for text in texts if text is not None):
        return AttemptPage([], None)
    conditions = _indexed(query)
    if after is not None:
        conditions.append((f"(at, node) {'<' if query.descending else '>'} (?, ?)", after))
    end = None
    if query.outcome is not None:
        ends = await fetch(*_select("at, node", query, conditions, f"1 OFFSET {SCANNED_AT_MOST - 1}"))
        if ends:
            end = (int(ends[0][0]), str(ends[0][1]))
            conditions.append((f"(at, node) {'>=' if query.descending else '<='} (?, ?)", end))
        conditions.append(("outcome = ?", (query.outcome,)))
    rows = await fetch(*_select(COLUMNS, query, conditions, str(query.limit + 1)))
    found = [_logged(row) for row in rows[: query.limit]]
    if len(rows) > query.limit:
        end = (found[-1].attempt.at_us, found[-1].node)
    return AttemptPage(found, write_cursor(*end) if end else None)


def _indexed(query: AttemptQuery) -> list[tuple[str, tuple[Any, ...]]]:
    # An event has few attempts and a subscription many, which SQLite does not know: it is not offered the other index.
    subscription = "subscription" if query.event_id is None else "subscription || ''"
    given = (
        ("event_id = ?", query.event_id),
        (f"{subscription} = ?", query.subscription),
        ("at >= ?", query.since and micros(query.since)),
        ("at < ?", query.until and micros(query.until)),
    )
    return [(sql, (value,)) for sql, value in given if value is not None]


def _select(
    columns: str, query: AttemptQuery, conditions: Sequence[tuple[str, tuple[Any, ...]]], limit: str
) -> tuple[str, list[Any]]:
    where = f"WHERE {' AND '.join(sql for sql, _ in conditions)} " if conditions else ""
    order = "DESC" if query.descending else "ASC"
    sql = f"SELECT {columns} FROM attempts {where}ORDER BY at {order}, node {order} LIMIT {limit}"
    return sql, [value for _, values in conditions for value in values]


def _logged(row: Sequence[Any]) -> LoggedAttempt:
    node, *attempt = row
    logged = Attempt(*attempt)
    return LoggedAttempt(node, logged._replace(dead=bool(logged.dead)))
