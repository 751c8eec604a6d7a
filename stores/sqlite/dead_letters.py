"""Dead letters in SQLite: where an embedded log keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from router_client.topics import check_pattern, is_literal
from stores.cursor import check_limit, not_a_cursor
from stores.moments import micros
from stores.ports import NO_FILTER, DeadLetter, DeadLetterPage, LetterCount, LetterCounts, LetterFilter
from stores.sqlite.connection import SqliteConnection
from stores.text import is_storable
from stores.topic_range import topic_range

COLUMNS = (
    "id, subscription, partition, reason, error, attempts, accepted_at_us, dead_at_us, event_id, event_type, body, "
    "queue_id"
)
MAX_DIGITS = 18  # fits a 64-bit integer
NAMES = COLUMNS.split(", ")
INSERT = f"INSERT OR IGNORE INTO dead_letters ({COLUMNS}) VALUES ({','.join('?' * len(NAMES))})"


class SqliteDeadLetters:
    """DeadLetters and DeadLetterSink on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        """See DeadLetterSink."""
        rows = [tuple(getattr(letter, name) for name in NAMES) for letter in letters]
        await self._connection.transaction([(INSERT, rows)])

    async def list(
        self, wanted: LetterFilter = NO_FILTER, *, limit: int = 100, cursor: str | None = None
    ) -> DeadLetterPage:
        """See DeadLetters."""
        check_limit(limit)
        after = _read_cursor(cursor)
        conditions = _conditions(wanted)
        if not all(is_storable(value) for _, value in conditions if isinstance(value, str)):
            return DeadLetterPage([], None)
        where = " AND ".join(("seq > ?", *(sql for sql, _ in conditions)))
        rows = await self._connection.read(
            f"SELECT seq, {COLUMNS} FROM dead_letters WHERE {where} ORDER BY seq LIMIT ?",
            (after, *(value for _, value in conditions), limit + 1),
        )
        more = len(rows) > limit
        return DeadLetterPage([_letter(row[1:]) for row in rows[:limit]], str(rows[limit - 1][0]) if more else None)

    async def get(self, letter_id: str) -> DeadLetter | None:
        """See DeadLetters."""
        if not is_storable(letter_id):
            return None
        rows = await self._connection.read(f"SELECT {COLUMNS} FROM dead_letters WHERE id = ?", (letter_id,))
        return _letter(rows[0]) if rows else None

    async def remove(self, letter_ids: Sequence[str]) -> int:
        """See DeadLetters."""
        wanted = [(letter_id,) for letter_id in letter_ids if is_storable(letter_id)]
        return await self._connection.transaction([("DELETE FROM dead_letters WHERE id = ?", wanted)])

    async def count(self) -> int:
        """See DeadLetters."""
        return int((await self._connection.read("SELECT count(*) FROM dead_letters"))[0][0])

    async def counts(self) -> LetterCounts:
        """See DeadLetters. All letters are counted."""
        rows = await self._connection.read(
            "SELECT subscription, reason, count(*) FROM dead_letters GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return LetterCounts([LetterCount(*row) for row in rows], complete=True)


def _conditions(wanted: LetterFilter) -> list[tuple[str, Any]]:
    given: list[tuple[str, Any]] = [
        ("subscription = ?", wanted.subscription),
        ("reason = ?", wanted.reason),
        ("dead_at_us >= ?", wanted.since and micros(wanted.since)),
        ("dead_at_us < ?", wanted.until and micros(wanted.until)),
    ]
    if wanted.type is not None:
        pattern = check_pattern(wanted.type, "type")
        topics = None if is_literal(pattern) else topic_range(pattern)
        given += [
            ("event_type = ?", pattern if topics is None else None),
            ("event_type >= ?", topics and topics.low),
            ("event_type < ?", topics and topics.high),
            ("event_type REGEXP ?", topics and topics.regex),
        ]
    return [(sql, value) for sql, value in given if value is not None]


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    return DeadLetter(**dict(zip(NAMES, row, strict=True)))


def _read_cursor(cursor: str | None) -> Any:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > MAX_DIGITS:
        raise not_a_cursor()
    return int(cursor)
