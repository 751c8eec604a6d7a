"""The audit log in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from stores.audit import COLUMNS, AuditEntry, AuditPage, AuditQuery, row_of, search
from stores.sqlite.connection import SqliteConnection

INSERT = f"INSERT OR IGNORE INTO audit ({COLUMNS}) VALUES ({','.join('?' * len(AuditEntry._fields))})"
EXPIRE = "DELETE FROM audit WHERE (at_us, id) IN (SELECT at_us, id FROM audit WHERE at_us < ? ORDER BY at_us LIMIT ?)"


class SqliteAudit:
    """AuditLog on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """See AuditLog."""
        await self._connection.transaction([(INSERT, [row_of(entry) for entry in entries])])

    async def query(self, query: AuditQuery) -> AuditPage:
        """See AuditLog."""
        return await search(query, self._connection.read)

    async def expire(self, before_us: int, limit: int) -> int:
        """See AuditLog."""
        return await self._connection.write(EXPIRE, (before_us, limit))

    async def count(self) -> int:
        """See AuditLog."""
        return int((await self._connection.read("SELECT count(*) FROM audit"))[0][0])
