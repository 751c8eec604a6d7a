"""Durable subscriptions in SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stores.sqlite.connection import SqliteConnection
from stores.text import is_storable


class SqliteSubscriptions:
    """SubscriptionStore on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def put(self, name: str, spec: Mapping[str, Any]) -> bool:
        """See SubscriptionStore."""
        text = orjson.dumps(spec).decode()
        changed = await self._connection.transaction(
            [
                ("DELETE FROM subscriptions WHERE name = ?", [(name,)]),
                ("INSERT INTO subscriptions VALUES (?, ?)", [(name, text)]),
            ]
        )
        return changed == 1

    async def get(self, name: str) -> dict[str, Any] | None:
        """See SubscriptionStore."""
        if not is_storable(name):
            return None
        rows = await self._connection.read("SELECT spec FROM subscriptions WHERE name = ?", (name,))
        return dict(orjson.loads(rows[0][0])) if rows else None

    async def list(self) -> list[dict[str, Any]]:
        """See SubscriptionStore."""
        return [
            orjson.loads(spec)
            for (spec,) in await self._connection.read("SELECT spec FROM subscriptions ORDER BY name")
        ]

    async def remove(self, name: str) -> bool:
        """See SubscriptionStore."""
        if not is_storable(name):
            return False
        return bool(await self._connection.write("DELETE FROM subscriptions WHERE name = ?", (name,)))
