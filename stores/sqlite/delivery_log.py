"""The delivery log in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from stores.attempt_search import COLUMNS, NAMES, search
from stores.attempts import AttemptPage, AttemptQuery, LoggedAttempt
from stores.sqlite.connection import SqliteConnection

INSERT = f"INSERT OR IGNORE INTO attempts ({COLUMNS}) VALUES ({','.join('?' * len(NAMES))})"
EXPIRE = "DELETE FROM attempts WHERE (at, node) IN (SELECT at, node FROM attempts WHERE at < ? ORDER BY at LIMIT ?)"


class SqliteDeliveryLog:
    """DeliveryLog on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def save(self, attempts: Sequence[LoggedAttempt]) -> None:
        """See DeliveryLog."""
        await self._connection.transaction([(INSERT, [(node, *attempt) for node, attempt in attempts])])

    async def query(self, query: AttemptQuery) -> AttemptPage:
        """See DeliveryLog."""
        return await search(query, self._connection.read)

    async def expire(self, before_us: int, limit: int) -> int:
        """See DeliveryLog."""
        return await self._connection.write(EXPIRE, (before_us, limit))

    async def count(self) -> int:
        """See DeliveryLog."""
        return int((await self._connection.read("SELECT count(*) FROM attempts"))[0][0])
