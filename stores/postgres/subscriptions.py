"""Durable subscriptions in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stores.postgres.connection import PostgresConnection
from stores.subscriptions import ABSENT, Put, SubscriptionChange, check_expected
from stores.text import is_storable


class PostgresSubscriptions:
    """SubscriptionStore on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def put(self, name: str, spec: Mapping[str, Any], expected: int | None = None) -> Put:
        """See SubscriptionStore."""
        replace = "NOTHING" if expected == ABSENT else "UPDATE SET spec = excluded.spec"
        async with self._connection.connected(self._connection.bounds.write_s) as connection, connection.transaction():
            await _check(connection, name, expected)
            created = await connection.fetchval(
                "INSERT INTO subscriptions (name, spec) VALUES ($1, $2)"
                f" ON CONFLICT (name) DO {replace} RETURNING xmax = 0",
                name,
                orjson.dumps(spec).decode(),
            )
            revision = await _revision(connection, name)
            if created is None:  # another was quicker
                check_expected(name, revision or 1, expected)
        return Put(bool(created), revision)

    async def get(self, name: str) -> dict[str, Any] | None:
        """See SubscriptionStore."""
        if not is_storable(name):
            return None
        rows = await self._connection.fetch("SELECT spec FROM subscriptions WHERE name = $1", name)
        return dict(orjson.loads(rows[0]["spec"])) if rows else None

    async def remove(self, name: str, expected: int | None = None) -> bool:
        """See SubscriptionStore."""
        if not is_storable(name):
            return False
        async with self._connection.connected(self._connection.bounds.write_s) as connection, connection.transaction():
            await _check(connection, name, expected)
            return bool(await connection.fetchval("DELETE FROM subscriptions WHERE name = $1 RETURNING true", name))

    async def revision(self) -> int:
        """See SubscriptionStore."""
        rows = await self._connection.fetch("SELECT coalesce(max(revision), 0) AS newest FROM subscription_changes")
        return int(rows[0]["newest"])

    async def changes(self, since: int, limit: int) -> list[SubscriptionChange]:
        """See SubscriptionStore."""
        rows = await self._connection.fetch(
            "SELECT revision, name, spec FROM subscription_changes LEFT JOIN subscriptions USING (name)"
            " WHERE revision > $1 ORDER BY revision LIMIT $2",
            since,
            limit,
        )
        return [SubscriptionChange(number, name, spec and orjson.loads(spec)) for number, name, spec in rows]


async def _check(connection: Any, name: str, expected: int | None) -> None:
    """Compare with what is there, and have it stay until the transaction ends.

    The row's lock is taken before the one of the changes, as every other writer takes them.
    """
    if expected is not None:
        await connection.execute("SELECT FROM subscriptions WHERE name = $1 FOR UPDATE", name)
        check_expected(name, await _revision(connection, name), expected)


async def _revision(connection: Any, name: str) -> int:
    sql = "SELECT revision FROM subscription_changes JOIN subscriptions USING (name) WHERE name = $1"
    return int(await connection.fetchval(sql, name) or ABSENT)
