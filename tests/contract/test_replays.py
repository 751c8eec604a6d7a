"""What every store of replays promises, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from router_client.errors import InvalidInput
from stores.open import open_database
from stores.replays import Replay, Replays


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Replays]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    database = await open_database(url)
    await database.migrate()
    yield database.replays
    await database.close()


def replay(number: int) -> Replay:
    return Replay(
        id=f"r{number}",
        subscription="läte",
        query={"type": "a.>", "from": "2026-01-01T00:00:00Z"},
        rate=500.0,
        created_at_us=1000 + number,
        updated_at_us=1000 + number,
    )


async def test_what_is_added_comes_back(store: Replays) -> None:
    await store.add(replay(1))
    assert await store.get("r1") == replay(1)
    assert await store.get("r2") is None
    assert await store.get("\0") is None


async def test_the_latest_come_first_and_those_that_run_last(store: Replays) -> None:
    for number in (1, 3, 2):
        await store.add(replay(number))
    await store.change(replace(replay(2), state="done"))
    first = await store.page(2)
    assert [each.id for each in first.replays] == ["r3", "r2"]
    rest = await store.page(2, first.next)
    assert ([each.id for each in rest.replays], rest.next) == (["r1"], None)
    assert (await store.page(3)).next is None
    assert [each.id for each in await store.running()] == ["r1", "r3"]


async def test_only_one_that_runs_is_changed(store: Replays) -> None:
    await store.add(replay(1))
    assert await store.change(replace(replay(1), cursor="c", delivered=5)) is True
    assert await store.change(replace(replay(1), state="cancelled", delivered=5)) is True
    assert await store.change(replace(replay(1), delivered=9)) is False
    found = await store.get("r1")
    assert found is not None
    assert (found.state, found.delivered) == ("cancelled", 5)
    assert await store.change(replay(7)) is False


async def test_old_ones_are_forgotten_unless_they_run(store: Replays) -> None:
    for number in (1, 2, 3):
        await store.add(replay(number))
    for number in (1, 3):
        await store.change(replace(replay(number), state="done"))
    assert await store.forget(1003) == 1
    assert [each.id for each in (await store.page(10)).replays] == ["r3", "r2"]


async def test_replays_of_one_moment_come_on_one_page_or_the_next_and_once(store: Replays) -> None:
    for number in range(5):
        await store.add(replace(replay(number), created_at_us=7))
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.page(2, cursor)
        found += [each.id for each in page.replays]
        if (cursor := page.next) is None:
            break
    assert found == ["r4", "r3", "r2", "r1", "r0"]


@pytest.mark.parametrize(("limit", "cursor"), [(0, None), (1001, None), (1, ""), (1, "x"), (1, "YWJj")])
async def test_a_page_that_cannot_be_is_refused(store: Replays, limit: int, cursor: str | None) -> None:
    with pytest.raises(InvalidInput):
        await store.page(limit, cursor)
