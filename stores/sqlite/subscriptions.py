"""Durable subscriptions in SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stores.ports import SubscriptionChange
from stores.sqlite.connection import SqliteConnection
from stores.text import is_storable

CREATED = 2
"""Rows that change when a subscription is created: its own, and the one that says so."""


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
                ("INSERT OR REPLACE INTO subscription_changes (name) VALUES (?)", [(name,)]),
            ]
        )
        return changed == CREATED

    async def get(self, name: str) -> dict[str, Any] | None:
        """See SubscriptionStore."""
        if not is_storable(name):
            return None
        rows = await self._connection.read("SELECT spec FROM subscriptions WHERE name = ?", (name,))
        return dict(orjson.loads(rows[0][0])) if rows else None

    async def remove(self, name: str) -> bool:
        """See SubscriptionStore."""
        if not is_storable(name):
            return False
        note = "INSERT OR REPLACE INTO subscription_changes (name) SELECT name FROM subscriptions WHERE name = ?"
        return bool(
            await self._connection.transaction(
                [(note, [(name,)]), ("DELETE FROM subscriptions WHERE name = ?", [(name,)])]
            )
        )

    async def revision(self) -> int:
        """See SubscriptionStore."""
        rows = await self._connection.read("SELECT coalesce(max(revision), 0) FROM subscription_changes")
        return int(rows[0][0])

    async def changes(self, since: int, limit: int) -> list[SubscriptionChange]:
        """See SubscriptionStore."""
        rows = await self._connection.read(
            "SELECT revision, name, spec FROM subscription_changes LEFT JOIN subscriptions USING (name)"
            " WHERE revision > ? ORDER BY revision LIMIT ?",
            (since, limit),
        )
        return [SubscriptionChange(number, name, spec and orjson.loads(spec)) for number, name, spec in rows]
