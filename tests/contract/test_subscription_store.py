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


async def test_changes_come_in_order_and_each_subscription_once(store: SubscriptionStore) -> None:
    for name in ("b", "a", "c", "b"):
        await store.put(name, {"name": name})
    await store.remove("a")

    first, *others = await store.changes(0, 10)

    assert [(change.name, change.spec) for change in (first, *others)] == [
        ("c", {"name": "c"}),
        ("b", {"name": "b"}),
        ("a", None),
    ]
    assert await store.changes(0, 1) == [first]
    assert await store.changes(first.revision, 10) == others
    assert await store.revision() == others[-1].revision
    assert await store.changes(await store.revision(), 10) == []


async def test_a_revision_is_never_used_again(store: SubscriptionStore) -> None:
    assert await store.revision() == 0
    await store.put("late", {"name": "late"})
    before = await store.revision()
    await store.remove("late")
    await store.put("late", {"name": "late"})

    assert [change.name for change in await store.changes(before, 10)] == ["late"]


async def test_remove_says_whether_it_was_there(store: SubscriptionStore) -> None:
    await store.put("late", {"name": "late"})
    assert await store.remove("late") is True
    after = await store.revision()

    assert await store.remove("late") is False
    assert await store.get("late") is None
    assert await store.revision() == after
