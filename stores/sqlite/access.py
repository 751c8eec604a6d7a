"""API keys and policies in SQLite."""

from __future__ import annotations

from typing import Any

import orjson

from stores.access import AccessObject
from stores.audit import AuditEntry, row_of
from stores.sqlite.audit import INSERT as AUDIT
from stores.sqlite.connection import SqliteConnection
from stores.text import is_storable

NUMBER = "UPDATE access_revision SET latest = latest + 1"
PUT = """
INSERT INTO access_objects (kind, name, revision, body, ends_at)
SELECT ?1, ?2, latest, ?3, ?4 FROM access_revision
WHERE ?5 = 0 OR EXISTS (SELECT 1 FROM access_objects WHERE kind = ?1 AND name = ?2)
ON CONFLICT (kind, name) DO UPDATE SET revision = excluded.revision, body = excluded.body, ends_at = excluded.ends_at
WHERE access_objects.revision = ?5
"""
LOG = f"{AUDIT.replace('VALUES (', 'SELECT ').removesuffix(')')} WHERE changes() = 1"
PUT_AND_LOGGED = 3
"""Rows that change when a put takes place: the number, the object and the entry."""
EXPIRE = """
DELETE FROM access_objects WHERE (kind, name) IN
(SELECT kind, name FROM access_objects WHERE ends_at < ? ORDER BY ends_at LIMIT ?)
"""
COLUMNS = "kind, name, revision, body"


class SqliteAccess:
    """AccessStore on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def put(self, changed: AccessObject, ends_at_us: int | None, entry: AuditEntry) -> int:
        """See AccessStore."""
        body = orjson.dumps(changed.body).decode() if changed.body is not None else None
        values = (changed.kind, changed.name, body, ends_at_us, changed.revision)
        rows = await self._connection.transaction([(NUMBER, [()]), (PUT, [values]), (LOG, [row_of(entry)])])
        return (await self.get(changed.kind, changed.name)).revision if rows == PUT_AND_LOGGED else 0

    async def get(self, kind: str, name: str) -> AccessObject:
        """See AccessStore."""
        if not is_storable(name):
            return AccessObject(kind, name, 0, None)
        sql = f"SELECT {COLUMNS} FROM access_objects WHERE kind = ? AND name = ?"
        rows = await self._connection.read(sql, (kind, name))
        return _object(rows[0]) if rows else AccessObject(kind, name, 0, None)

    async def of_kind(self, kind: str, limit: int, after: str = "") -> list[AccessObject]:
        """See AccessStore."""
        sql = (
            f"SELECT {COLUMNS} FROM access_objects WHERE kind = ? AND name > ? AND body IS NOT NULL"
            " ORDER BY name LIMIT ?"
        )
        return [_object(row) for row in await self._connection.read(sql, (kind, after, limit))]

    async def revision(self) -> int:
        """See AccessStore."""
        return int((await self._connection.read("SELECT latest FROM access_revision"))[0][0])

    async def changes(self, since: int, limit: int) -> list[AccessObject]:
        """See AccessStore."""
        sql = f"SELECT {COLUMNS} FROM access_objects WHERE revision > ? ORDER BY revision LIMIT ?"
        return [_object(row) for row in await self._connection.read(sql, (since, limit))]

    async def expire(self, before_us: int, limit: int) -> int:
        """See AccessStore."""
        return await self._connection.write(EXPIRE, (before_us, limit))


def _object(row: tuple[Any, ...]) -> AccessObject:
    kind, name, revision, body = row
    return AccessObject(kind, name, revision, None if body is None else orjson.loads(body))
