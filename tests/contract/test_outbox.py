"""What every Outbox promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stores.errors import StoreRejected
from stores.open import open_database
from stores.ports import Database, Owed, StoredEvent


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    opened = await open_database(url)
    await opened.migrate()
    yield opened
    await opened.close()


def owed(n: int, *, slot: int = 7, generation: int = 100) -> Owed:
    event = StoredEvent(1_000 + n, f"e{n}", "a.b", "", f"key-{n}", 5, b'{"n":%d}' % n)
    return Owed(slot, generation, n, event)


async def test_events_and_rows_are_stored_together_and_only_once(database: Database) -> None:
    rows = [owed(n) for n in range(10)]
    other = StoredEvent(5_000, "other", "a.b", "", "k", 5, b"{}")

    await database.outbox.save([*(row.event for row in rows), other], rows)
    await database.outbox.save([row.event for row in rows], rows[:5])

    assert await database.events.count() == 11
    assert await database.outbox.count() == 10
    assert await database.outbox.stored(["e3", "other", "nobody"]) == {"e3", "other"}


async def test_rows_of_older_generations_come_back_page_by_page_in_order(database: Database) -> None:
    rows = [owed(n, slot=n % 3, generation=100 + n % 2) for n in range(60)]
    await database.outbox.save([row.event for row in rows], list(reversed(rows)))

    found: list[Owed] = []
    while page := await database.outbox.load([0, 2], 101, 7, found[-1] if found else None):
        found += page

    assert found == [row for row in rows if row.slot in (0, 2) and row.generation == 100]
    assert await database.outbox.load([], 101, 7, None) == []


async def test_a_removed_row_is_owed_no_more_and_its_event_stays(database: Database) -> None:
    rows = [owed(n) for n in range(4)]
    await database.outbox.save([row.event for row in rows], rows)

    assert await database.outbox.remove([(1_000, "e0"), (1_001, "e1"), (9, "e2")]) == 2
    assert await database.outbox.remove([(1_000, "e0")]) == 0
    assert await database.outbox.remove([]) == 0

    assert [row.event.id for row in await database.outbox.load([7], 101, 10, None)] == ["e2", "e3"]
    assert await database.events.count() == 4


async def test_what_the_database_refuses_stores_nothing_of_its_transaction(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    bad = owed(1)
    bad = bad._replace(event=bad.event._replace(id="nul \x00"))
    try:
        with pytest.raises(StoreRejected):
            await database.outbox.save([owed(0).event, bad.event], [owed(0), bad])
        assert (await database.events.count(), await database.outbox.count()) == (0, 0)
    finally:
        await database.close()


async def test_two_nodes_that_save_the_same_rows_at_once_do_not_deadlock(database_url: str) -> None:
    one, two = await open_database(database_url), await open_database(database_url)
    await one.migrate()
    rows = [owed(n) for n in range(300)]
    try:
        async with asyncio.TaskGroup() as tasks:
            for turn in range(10):
                for database, part in ((one, rows), (two, rows[::-1])):
                    tasks.create_task(database.outbox.save([row.event for row in part], part[turn:]))
        assert await one.outbox.count() == 300
    finally:
        await one.close()
        await two.close()
