"""Durable subscriptions in SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiosqlite
import orjson

from stores.sqlite.connection import SqliteConnection
from stores.subscriptions import ABSENT, Put, SubscriptionChange, check_expected
from stores.text import is_storable


class SqliteSubscriptions:
    """SubscriptionStore on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def put(self, name: str, spec: Mapping[str, Any], expected: int | None = None) -> Put:
        """See SubscriptionStore."""
        text = orjson.dumps(spec).decode()

        async def work(connection: aiosqlite.Connection) -> Put:
            found = await _revision(connection, name)
            check_expected(name, found, expected)
            await connection.execute(
                "INSERT INTO subscriptions VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET spec = excluded.spec",
                (name, text),
            )
            return Put(found == ABSENT, await _note_change(connection, name))

        return await self._connection.decide(work)

    async def get(self, name: str) -> dict[str, Any] | None:
        """See SubscriptionStore."""
        if not is_storable(name):
            return None
        rows = await self._connection.read("SELECT spec FROM subscriptions WHERE name = ?", (name,))
        return dict(orjson.loads(rows[0][0])) if rows else None

    async def remove(self, name: str, expected: int | None = None) -> bool:
        """See SubscriptionStore."""

        async def work(connection: aiosqlite.Connection) -> bool:
            found = await _revision(connection, name)
            check_expected(name, found, expected)
            if found != ABSENT:
                await connection.execute("DELETE FROM subscriptions WHERE name = ?", (name,))
                await _note_change(connection, name)
            return found != ABSENT

        return is_storable(name) and await self._connection.decide(work)

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


async def _revision(connection: aiosqlite.Connection, name: str) -> int:
    sql = "SELECT revision FROM subscription_changes JOIN subscriptions USING (name) WHERE name = ?"
    rows = list(await connection.execute_fetchall(sql, (name,)))
    return int(rows[0][0]) if rows else ABSENT


async def _note_change(connection: aiosqlite.Connection, name: str) -> int:
    noted = await connection.execute("INSERT OR REPLACE INTO subscription_changes (name) VALUES (?)", (name,))
    return int(noted.lastrowid or 0)
