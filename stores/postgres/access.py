"""API keys and policies in PostgreSQL."""

from __future__ import annotations

from typing import Any

import orjson

from stores.access import AccessObject
from stores.audit import COLUMNS as AUDIT_COLUMNS
from stores.audit import AuditEntry, row_of
from stores.postgres.connection import PostgresConnection
from stores.text import is_storable

COLUMNS = "kind, name, revision, body"
# One statement is one transaction: nothing changes without its entry in the audit log.
PUT = f"""
WITH number AS (UPDATE access_revision SET latest = latest + 1 RETURNING latest),
changed AS (
    INSERT INTO access_objects (kind, name, revision, body, ends_at)
    SELECT $1::text, $2::text, latest, $3::text, $4::bigint FROM number
    WHERE $5::bigint = 0 OR EXISTS (SELECT 1 FROM access_objects WHERE kind = $1 AND name = $2)
    ON CONFLICT (kind, name) DO UPDATE
    SET revision = excluded.revision, body = excluded.body, ends_at = excluded.ends_at
    WHERE access_objects.revision = $5
    RETURNING revision
),
logged AS (
    INSERT INTO audit ({AUDIT_COLUMNS})
    SELECT $6::bigint, $7::text, $8::text, $9::text, $10::text, $11::text, $12::text, $13::text FROM changed
)
SELECT revision FROM changed
"""
EXPIRE = """
DELETE FROM access_objects WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM access_objects WHERE ends_at < $1 ORDER BY ends_at LIMIT $2
))
"""


class PostgresAccess:
    """AccessStore on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def put(self, changed: AccessObject, ends_at_us: int | None, entry: AuditEntry) -> int:
        """See AccessStore."""
        body = orjson.dumps(changed.body).decode() if changed.body is not None else None
        values = (changed.kind, changed.name, body, ends_at_us, changed.revision)
        async with self._connection.connected(self._connection.bounds.write_s) as connection:
            return int(await connection.fetchval(PUT, *values, *row_of(entry)) or 0)

    async def get(self, kind: str, name: str) -> AccessObject:
        """See AccessStore."""
        if not is_storable(name):
            return AccessObject(kind, name, 0, None)
        sql = f"SELECT {COLUMNS} FROM access_objects WHERE kind = $1 AND name = $2"
        rows = await self._connection.fetch(sql, kind, name)
        return _object(rows[0]) if rows else AccessObject(kind, name, 0, None)

    async def of_kind(self, kind: str, limit: int, after: str = "") -> list[AccessObject]:
        """See AccessStore."""
        sql = (
            f"SELECT {COLUMNS} FROM access_objects WHERE kind = $1 AND name > $2 AND body IS NOT NULL"
            " ORDER BY name LIMIT $3"
        )
        return [_object(row) for row in await self._connection.fetch(sql, kind, after, limit)]

    async def revision(self) -> int:
        """See AccessStore."""
        return int((await self._connection.fetch("SELECT latest FROM access_revision"))[0][0])

    async def changes(self, since: int, limit: int) -> list[AccessObject]:
        """See AccessStore."""
        sql = f"SELECT {COLUMNS} FROM access_objects WHERE revision > $1 ORDER BY revision LIMIT $2"
        return [_object(row) for row in await self._connection.fetch(sql, since, limit)]

    async def expire(self, before_us: int, limit: int) -> int:
        """See AccessStore."""
        return await self._connection.execute(EXPIRE, before_us, limit)


def _object(row: Any) -> AccessObject:
    kind, name, revision, body = row
    return AccessObject(kind, name, revision, None if body is None else orjson.loads(body))
