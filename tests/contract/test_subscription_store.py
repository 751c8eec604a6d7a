"""What every SubscriptionStore promises, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stores.open import open_database
from stores.ports import SubscriptionStore


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SubscriptionStore]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    database = await open_database(url)
    await database.migrate()
    yield database.subscriptions
    await database.close()


async def test_put_creates_then_replaces(store: SubscriptionStore) -> None:
    assert await store.put("late", {"name": "late", "topics": ["a.>"]}) is True
    assert await store.put("late", {"name": "late", "topics": ["ä.>"], "filter": {"x": [1, None]}}) is False

    assert await store.get("late") == {"name": "late", "topics": ["ä.>"], "filter": {"x": [1, None]}}
    assert await store.get("Late") is None


async def test_list_is_ordered_by_name(store: SubscriptionStore) -> None:
    for name in ("b", "a", "B", "a.1"):
        await store.put(name, {"name": name})

    assert [spec["name"] for spec in await store.list()] == ["B", "a", "a.1", "b"]


async def test_remove_says_whether_it_was_there(store: SubscriptionStore) -> None:
    await store.put("late", {"name": "late"})

    assert await store.remove("late") is True
    assert await store.remove("late") is False
    assert await store.list() == []
