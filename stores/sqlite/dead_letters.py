"""Dead letters in SQLite: where an embedded log keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from router_client.errors import InvalidInput
from stores.cursor import check_limit
from stores.ports import DeadLetter, DeadLetterPage
from stores.sqlite.connection import SqliteConnection

COLUMNS = "id, subscription, partition, reason, error, attempts, accepted_at_us, dead_at_us, event_id, event_type, body"


class SqliteDeadLetters:
    """DeadLetters and DeadLetterSink on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        """See DeadLetterSink."""
        names = COLUMNS.split(", ")
        await self._connection.write_many(
            f"INSERT OR IGNORE INTO dead_letters ({COLUMNS}) VALUES ({','.join('?' * len(names))})",
            [tuple(getattr(letter, name) for name in names) for letter in letters],
        )

    async def list(
        self,
        *,
        subscription: str | None = None,
        reason: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DeadLetterPage:
        """See DeadLetters."""
        check_limit(limit)
        if cursor is not None and not cursor.isdecimal():
            raise InvalidInput("not a cursor of this listing; use the next of the page before", field="cursor")
        where, values = "seq > ?", [int(cursor or 0)]
        for column, wanted in (("subscription", subscription), ("reason", reason)):
            if wanted is not None:
                where += f" AND {column} = ?"
                values.append(wanted)  # type: ignore[arg-type]
        rows = await self._connection.read(
            f"SELECT seq, {COLUMNS} FROM dead_letters WHERE {where} ORDER BY seq LIMIT ?", (*values, limit + 1)
        )
        more = len(rows) > limit
        return DeadLetterPage([_letter(row[1:]) for row in rows[:limit]], str(rows[limit - 1][0]) if more else None)

    async def get(self, letter_id: str) -> DeadLetter | None:
        """See DeadLetters."""
        rows = await self._connection.read(f"SELECT {COLUMNS} FROM dead_letters WHERE id = ?", (letter_id,))
        return _letter(rows[0]) if rows else None

    async def remove(self, letter_ids: Sequence[str]) -> int:
        """See DeadLetters."""
        return await self._connection.write_many("DELETE FROM dead_letters WHERE id = ?", [(i,) for i in letter_ids])

    async def count(self) -> int:
        """See DeadLetters."""
        return int((await self._connection.read("SELECT count(*) FROM dead_letters"))[0][0])


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    return DeadLetter(**dict(zip(COLUMNS.split(", "), row, strict=True)))
