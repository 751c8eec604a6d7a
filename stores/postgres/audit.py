"""The audit log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from stores.audit import COLUMNS, AuditEntry, AuditPage, AuditQuery, row_of, search
from stores.postgres.connection import PostgresConnection

INSERT = (
    f"INSERT INTO audit ({COLUMNS}) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],"
    " $6::text[], $7::text[], $8::text[]) ON CONFLICT DO NOTHING"
)
EXPIRE = "DELETE FROM audit WHERE ctid = ANY (ARRAY(SELECT ctid FROM audit WHERE at_us < $1 ORDER BY at_us LIMIT $2))"


class PostgresAudit:
    """AuditLog on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """See AuditLog."""
        if entries:
            await self._connection.execute(INSERT, *zip(*map(row_of, sorted(entries, key=_key)), strict=True))

    async def query(self, query: AuditQuery) -> AuditPage:
        """See AuditLog."""
        return await search(query, self._connection.fetch_marked)

    async def expire(self, before_us: int, limit: int) -> int:
        """See AuditLog."""
        return await self._connection.execute(EXPIRE, before_us, limit)

    async def count(self) -> int:
        """See AuditLog."""
        return int((await self._connection.fetch("SELECT count(*) FROM audit"))[0][0])


def _key(entry: AuditEntry) -> tuple[int, str]:
    return entry.at_us, entry.id
