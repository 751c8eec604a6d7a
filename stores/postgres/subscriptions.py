"""Durable subscriptions in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

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

    async def list(self) -> list[dict[str, Any]]:
        """See SubscriptionStore."""
        rows = await self._connection.fetch("SELECT spec FROM subscriptions ORDER BY name")
        return [orjson.loads(row["spec"]) for row in rows]

    async def remove(self, name: str) -> bool:
        """See SubscriptionStore."""
        if not is_storable(name):
            return False
        return bool(await self._connection.execute("DELETE FROM subscriptions WHERE name = $1", name))
