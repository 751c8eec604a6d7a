"""What every AccessStore promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stores.access import KEY, POLICY, AccessObject
from stores.audit import AuditEntry, AuditQuery
from stores.open import open_database
from stores.ports import Database


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    opened = await open_database(url)
    await opened.migrate()
    yield opened
    await opened.close()


def entry(n: int = 0) -> AuditEntry:
    return AuditEntry(1_700_000_000_000_000 + n, f"{n:08}", "key:root", "key.create", "shop")


async def put(
    database: Database,
    name: str,
    body: dict[str, Any] | None,
    *,
    kind: str = KEY,
    ends: int | None = None,
    log: AuditEntry | None = None,
) -> int:
    """Put over whatever is there."""
    there = await database.access.get(kind, name)
    return await database.access.put(there._replace(body=body), ends, log or entry())


async def test_what_is_put_is_there_under_its_kind(database: Database) -> None:
    body = {"name": "shöp", "policies": ["a"], "expires_at_us": None}
    assert await put(database, "k1", body) == 1

    found = await database.access.get(KEY, "k1")

    assert found == AccessObject(KEY, "k1", 1, body)
    assert await database.access.get(POLICY, "k1") == AccessObject(POLICY, "k1", 0, None)
    assert await database.access.get(KEY, "nul \0") == AccessObject(KEY, "nul \0", 0, None)


async def test_only_who_knows_the_latest_revision_may_change_it(database: Database) -> None:
    await put(database, "k1", {"v": 1})
    first = await database.access.get(KEY, "k1")
    assert await database.access.put(first._replace(body={"v": 2}), None, entry(1))

    assert not await database.access.put(first._replace(body={"v": 3}), None, entry(2))
    assert not await database.access.put(AccessObject(KEY, "k1", 0, {"v": 4}), None, entry(3))
    assert not await database.access.put(AccessObject(KEY, "never there", 7, {"v": 5}), None, entry(4))

    assert (await database.access.get(KEY, "k1")).body == {"v": 2}
    assert [each.name for each in await database.access.changes(0, 10)] == ["k1"]


async def test_of_several_changes_at_a_time_one_takes_place(database: Database) -> None:
    await put(database, "k1", {"v": 0})
    there = await database.access.get(KEY, "k1")

    done = await asyncio.gather(
        *(database.access.put(there._replace(body={"v": n}), None, entry(n)) for n in range(1, 9))
    )

    assert sum(revision > 0 for revision in done) == 1
    assert (await database.access.get(KEY, "k1")).body == {"v": done.index(max(done)) + 1}


async def test_each_change_has_its_entry_in_the_audit_log_and_nothing_else_has(database: Database) -> None:
    await put(database, "k1", {"v": 1}, log=entry(1))
    await database.access.put(AccessObject(KEY, "k1", 0, {"v": 9}), None, entry(2))

    assert (await database.audit.query(AuditQuery())).entries == [entry(1)]


async def test_removing_leaves_word_of_it_and_the_name_can_be_used_again(database: Database) -> None:
    await put(database, "shop", {"v": 1}, kind=POLICY)
    await put(database, "shop", None, kind=POLICY, log=entry(1))

    gone = await database.access.get(POLICY, "shop")
    assert (gone.body, gone.revision) == (None, 2)
    assert await database.access.changes(1, 10) == [gone]
    assert await database.access.of_kind(POLICY, 10) == []
    assert await put(database, "shop", {"v": 2}, kind=POLICY, log=entry(2))


async def test_changes_come_in_order_and_each_object_once(database: Database) -> None:
    for n, name in enumerate(("b", "a", "c", "b")):
        await put(database, name, {"n": n}, log=entry(n))
    first, *others = await database.access.changes(0, 10)

    assert [(each.name, each.body) for each in (first, *others)] == [("a", {"n": 1}), ("c", {"n": 2}), ("b", {"n": 3})]
    assert await database.access.changes(0, 1) == [first]
    assert await database.access.changes(first.revision, 10) == others
    assert await database.access.revision() == others[-1].revision == 4
    assert await database.access.changes(4, 10) == []


async def test_listing_goes_by_name_page_by_page(database: Database) -> None:
    for n, name in enumerate(("b", "a", "C", "d")):
        await put(database, name, {"n": n}, log=entry(n))
    await put(database, "other", {}, kind=POLICY, log=entry(9))

    assert [each.name for each in await database.access.of_kind(KEY, 3)] == ["C", "a", "b"]
    assert [each.name for each in await database.access.of_kind(KEY, 3, "b")] == ["d"]


async def test_what_ended_is_forgotten_and_no_number_comes_twice(database: Database) -> None:
    await put(database, "kept", {}, log=entry(0))
    await put(database, "later", {}, ends=2000, log=entry(1))
    await put(database, "ended", {}, ends=1000, log=entry(2))
    last = await database.access.revision()

    assert await database.access.expire(2000, 0) == 0
    assert await database.access.expire(2000, 10) == 1

    assert [each.name for each in await database.access.changes(0, 10)] == ["kept", "later"]
    assert await database.access.revision() == last
    await put(database, "new", {}, log=entry(3))
    assert [each.name for each in await database.access.changes(last, 10)] == ["new"]
