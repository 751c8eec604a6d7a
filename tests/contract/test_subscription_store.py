"""What every SubscriptionStore promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router_client.errors import PreconditionFailed
from stores.open import open_database
from stores.ports import Put, SubscriptionStore
from stores.subscriptions import ABSENT, PRESENT


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SubscriptionStore]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    database = await open_database(url)
    await database.migrate()
    yield database.subscriptions
    await database.close()


async def test_put_creates_then_replaces(store: SubscriptionStore) -> None:
    created = await store.put("late", {"name": "late", "topics": ["a.>"]})
    replaced = await store.put("late", {"name": "late", "topics": ["ä.>"], "filter": {"x": [1, None]}})

    assert (created.created, replaced.created) == (True, False)
    assert 0 < created.revision < replaced.revision == await store.revision()

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


async def test_a_change_is_made_only_to_what_was_expected(store: SubscriptionStore) -> None:
    first = await store.put("late", {"n": 1}, ABSENT)
    second = await store.put("late", {"n": 2}, first.revision)
    third = await store.put("late", {"n": 3}, PRESENT)
    assert [each.created for each in (first, second, third)] == [True, False, False]

    for expected in (ABSENT, first.revision, second.revision, third.revision + 1):
        with pytest.raises(PreconditionFailed, match="late") as refused:
            await store.put("late", {"n": 4}, expected)
        assert refused.value.field == "revision"
        with pytest.raises(PreconditionFailed):
            await store.remove("late", expected)
    assert await store.get("late") == {"n": 3}
    assert await store.revision() == third.revision

    assert await store.remove("late", third.revision) is True
    for expected in (PRESENT, third.revision):
        with pytest.raises(PreconditionFailed, match="no subscription"):
            await store.put("late", {"n": 5}, expected)
        with pytest.raises(PreconditionFailed, match="no subscription"):
            await store.remove("late", expected)
    assert await store.get("late") is None


@pytest.mark.parametrize("there", [False, True])
async def test_of_many_who_expect_the_same_one_succeeds(store: SubscriptionStore, there: bool) -> None:
    expected = (await store.put("late", {"n": -1})).revision if there else ABSENT

    results = await asyncio.gather(
        *(store.put("late", {"n": number}, expected) for number in range(6)), return_exceptions=True
    )

    (winner,) = [number for number, result in enumerate(results) if isinstance(result, Put)]
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 5
    assert await store.get("late") == {"n": winner}
