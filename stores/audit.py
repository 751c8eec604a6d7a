"""The audit log: who did what to which object, when, from where, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import orjson

from stores.cursor import check_limit, read_cursor, write_cursor
from stores.moments import micros
from stores.text import is_storable


class AuditEntry(NamedTuple):
    """One entry; no secret is ever in it.

    ``at_us`` is the log's time in microseconds since 1970 and with ``id`` the key. ``action`` is a noun and a verb such
    as ``key.revoke``, ``object`` the name of what it was done to, ``outcome`` ``done``, ``refused`` or ``failed``,
    ``peer`` the address it came from (empty for the command line on the database).
    """

    at_us: int
    id: str
    principal: str
    action: str
    object: str
    outcome: str = "done"
    peer: str = ""
    details: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which entries to list. Absent conditions do not restrict; those present must all hold.

    ``since`` (inclusive) and ``until`` (exclusive) bound the time. Order is by time, newest first. ``cursor`` is the
    ``next`` of the page before.
    """

    principal: str | None = None
    action: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100
    cursor: str | None = None


class AuditPage(NamedTuple):
    """One page of entries; ``next`` continues, None ends."""

    entries: list[AuditEntry]
    next: str | None


class AuditLog(Protocol):
    """What was done, for as long as it is kept. All methods raise StoreUnavailable when the database is away."""

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Keep entries, all or none; those already there are left as they are. Raises StoreRejected."""
        ...

    async def query(self, query: AuditQuery) -> AuditPage:
        """Return one page. Raises InvalidInput for a cursor that is not one of ours or a limit outside 1..1000."""
        ...

    async def expire(self, before_us: int, limit: int) -> int:
        """Remove up to ``limit`` of the oldest entries from before then; returns how many went."""
        ...

    async def count(self) -> int:
        """Return how many entries are kept."""
        ...


COLUMNS = ", ".join(AuditEntry._fields)
Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Sequence[Any]]]]


def row_of(entry: AuditEntry) -> tuple[Any, ...]:
    """Return the values of an entry's columns."""
    return (*entry[:-1], orjson.dumps(entry.details).decode())


async def search(query: AuditQuery, fetch: Fetch) -> AuditPage:
    """Return one page; ``fetch`` runs a statement, with ``?`` where its values go.

    Raises InvalidInput for a bad cursor or limit.
    """
    check_limit(query.limit)
    after = read_cursor(query.cursor) if query.cursor is not None else None
    texts = (query.principal, query.action, query.object)
    if not all(is_storable(text) for text in texts if text is not None):
        return AuditPage([], None)
    given: list[tuple[str, tuple[Any, ...] | None]] = [
        ("principal = ?", _value(query.principal)),
        ("action = ?", _value(query.action)),
        ("object = ?", _value(query.object)),
        ("at_us >= ?", _value(query.since and micros(query.since))),
        ("at_us < ?", _value(query.until and micros(query.until))),
        ("(at_us, id) < (?, ?)", after),
    ]
    conditions = [(sql, values) for sql, values in given if values is not None]
    where = f"WHERE {' AND '.join(sql for sql, _ in conditions)} " if conditions else ""
    rows = await fetch(
        f"SELECT {COLUMNS} FROM audit {where}ORDER BY at_us DESC, id DESC LIMIT {query.limit + 1}",
        [value for _, values in conditions for value in values],
    )
    found = [AuditEntry._make((*row[:-1], orjson.loads(row[-1]))) for row in rows[: query.limit]]
    return AuditPage(found, write_cursor(*found[-1][:2]) if len(rows) > query.limit else None)


def _value(value: Any) -> tuple[Any, ...] | None:
    return None if value is None else (value,)
