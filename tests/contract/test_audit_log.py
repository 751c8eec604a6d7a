"""What every AuditLog promises, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from router_client.errors import InvalidInput
from stores.audit import AuditEntry, AuditQuery
from stores.open import open_database
from stores.ports import Database

BEGIN_US = 1_700_000_000_000_000


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    opened = await open_database(url)
    await opened.migrate()
    yield opened
    await opened.close()


def made(n: int, **more: Any) -> AuditEntry:
    whole = AuditEntry(BEGIN_US + n, f"{n:04}", "key:root", "policy.put", "shop", "done", "10.0.0.1", {"n": n})
    return whole._replace(**more)


async def all_of(database: Database, **conditions: Any) -> list[AuditEntry]:
    """Return what a query finds, over all its pages."""
    found: list[AuditEntry] = []
    cursor = None
    while True:
        page = await database.audit.query(AuditQuery(**conditions, cursor=cursor))
        found += page.entries
        cursor = page.next
        if cursor is None:
            return found


async def test_an_entry_comes_back_as_it_was_made(database: Database) -> None:
    full = made(1, principal="jwt:ü|1", outcome="refused", details={"policies": ["a", "b"], "ends": None})
    plain = AuditEntry(BEGIN_US, "x", "key:root", "key.create", "k")

    await database.audit.add([full, plain])
    await database.audit.add([])

    assert await all_of(database) == [full, plain]


async def test_what_is_added_again_is_there_once(database: Database) -> None:
    await database.audit.add([made(1), made(2)])
    await database.audit.add([made(3), made(2)])

    assert await database.audit.count() == 3


@pytest.mark.parametrize("limit", [1, 5, 1000])
async def test_queries_find_what_meets_all_conditions_newest_first(database: Database, limit: int) -> None:
    entries = [
        made(n // 2, id=str(n % 2), principal=f"key:{n % 3}", object="a" if n % 4 else "b", action=f"x.{n % 2}")
        for n in range(24)
    ]
    await database.audit.add(entries)
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, list(range(24))),
        ({"principal": "key:1"}, [n for n in range(24) if n % 3 == 1]),
        ({"object": "b"}, list(range(0, 24, 4))),
        ({"principal": "key:1", "object": "b"}, [4, 16]),
        ({"action": "x.1", "object": "b"}, []),
        ({"principal": "nul \0"}, []),
    ]
    for conditions, expected in cases:
        assert await all_of(database, **conditions, limit=limit) == [entries[n] for n in reversed(expected)], conditions


async def test_times_bound_when_it_was_done(database: Database) -> None:
    await database.audit.add([made(n * 1_000_000) for n in range(10)])
    since = datetime.fromtimestamp(BEGIN_US / 1e6 + 3, UTC)
    until = datetime.fromtimestamp(BEGIN_US / 1e6 + 6, UTC)

    assert await all_of(database, since=since, until=until) == [made(n * 1_000_000) for n in (5, 4, 3)]


async def test_the_oldest_expire_first_and_no_more_than_asked(database: Database) -> None:
    await database.audit.add([made(n) for n in range(20)])

    assert await database.audit.expire(BEGIN_US + 12, 5) == 5
    assert [each.at_us - BEGIN_US for each in await all_of(database)] == list(range(19, 4, -1))
    assert await database.audit.expire(BEGIN_US + 12, 100) == 7
    assert await database.audit.expire(BEGIN_US + 12, 100) == 0
    assert await database.audit.count() == 8


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"cursor": "x"}, "cursor"), ({"limit": 0}, "limit"), ({"limit": 1001}, "limit")],
)
async def test_bad_cursors_and_limits_are_named(database: Database, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await database.audit.query(AuditQuery(**arguments))
    assert caught.value.field == field
