"""Durable subscriptions in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stores.ports import SubscriptionChange
from stores.postgres.connection import PostgresConnection
from stores.text import is_storable


class PostgresSubscriptions:
    """SubscriptionStore on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def put(self, name: str, spec: Mapping[str, Any]) -> bool:
        """See SubscriptionStore."""
        async with self._connection.connected(self._connection.bounds.write_s) as connection:
            created = await connection.fetchval(
                "INSERT INTO subscriptions (name, spec) VALUES ($1, $2)"
                " ON CONFLICT (name) DO UPDATE SET spec = excluded.spec RETURNING xmax = 0",
                name,
                orjson.dumps(spec).decode(),
            )
        return bool(created)

    async def get(self, name: str) -> dict[str, Any] | None:
        """See SubscriptionStore."""
        if not is_storable(name):
            return None
        rows = await self._connection.fetch("SELECT spec FROM subscriptions WHERE name = $1", name)
        return dict(orjson.loads(rows[0]["spec"])) if rows else None

    async def remove(self, name: str) -> bool:
        """See SubscriptionStore."""
        if not is_storable(name):
            return False
        return bool(await self._connection.execute("DELETE FROM subscriptions WHERE name = $1", name))

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
