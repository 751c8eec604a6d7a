"""What every DeliveryLog promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from router_client.errors import InvalidInput
from stores import attempt_search
from stores.open import open_database
from stores.ports import Attempt, AttemptQuery, Database, LoggedAttempt

BEGIN_US = 1_700_000_000_000_000


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    opened = await open_database(url)
    await opened.migrate()
    yield opened
    await opened.close()


def logged(n: int, *, node: str = "one", event: str = "e", name: str = "late", **more: Any) -> LoggedAttempt:
    attempt = Attempt(BEGIN_US + n, event, name, 63, 1, "acked", False, 1.25)
    return LoggedAttempt(node, attempt._replace(**more))


async def all_of(database: Database, **conditions: Any) -> list[LoggedAttempt]:
    """Return what a query finds, over all its pages."""
    found: list[LoggedAttempt] = []
    cursor = None
    while True:
        page = await database.delivery_log.query(AttemptQuery(**conditions, cursor=cursor))
        found += page.attempts
        cursor = page.next
        if cursor is None:
            return found


async def test_an_attempt_comes_back_as_it_was_logged(database: Database) -> None:
    plain = logged(0)
    full = logged(
        1, attempt=7, outcome="rejected", dead=True, latency_ms=0.001, status=503, error="„no“", response="<html>…"
    )

    await database.delivery_log.save([full, plain])
    await database.delivery_log.save([])

    assert (await database.delivery_log.query(AttemptQuery())).attempts == [full, plain]
    assert type((await database.delivery_log.query(AttemptQuery())).attempts[0].attempt.dead) is bool


async def test_what_is_logged_again_is_there_once(database: Database) -> None:
    attempts = [logged(n) for n in range(100)]
    await database.delivery_log.save(attempts[:60])

    await database.delivery_log.save([*attempts[40:], logged(7, node="two")])

    assert await database.delivery_log.count() == 101
    assert await all_of(database, descending=False, limit=1000) == [*attempts[:8], logged(7, node="two"), *attempts[8:]]


CONDITIONS: list[tuple[dict[str, Any], Sequence[int]]] = [
    ({}, range(24)),
    ({"event_id": "e1"}, [n for n in range(24) if n % 3 == 1]),
    ({"event_id": "e1", "subscription": "b"}, [1, 7, 13, 19]),
    ({"subscription": "a"}, range(0, 24, 2)),
    ({"outcome": "failed"}, range(0, 24, 4)),
    ({"subscription": "b", "outcome": "failed"}, []),
    ({"event_id": "e0", "outcome": "acked"}, [3, 6, 9, 15, 18, 21]),
    ({"event_id": "nul \0"}, []),
    ({"subscription": "\ud800"}, []),
]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [1, 5, 1000])
async def test_queries_find_what_meets_all_conditions_page_by_page_in_order(
    database: Database, descending: bool, limit: int
) -> None:
    attempts = [
        logged(
            n // 2,  # two nodes at the same microsecond
            node=f"node {n % 2}",
            event=f"e{n % 3}",
            name="b" if n % 2 else "a",
            outcome="acked" if n % 4 else "failed",
        )
        for n in range(24)
    ]
    await database.delivery_log.save(attempts[::-1])
    for conditions, expected in CONDITIONS:
        found = await all_of(database, **conditions, limit=limit, descending=descending)
        wanted = [attempts[n] for n in expected]
        assert found == (wanted[::-1] if descending else wanted), conditions


async def test_times_bound_the_end_of_the_attempt(database: Database) -> None:
    await database.delivery_log.save([logged(n * 1_000_000) for n in range(10)])
    since = datetime.fromtimestamp(BEGIN_US / 1e6 + 3, UTC)
    until = datetime.fromtimestamp(BEGIN_US / 1e6 + 6, UTC)

    found = await all_of(database, since=since, until=until, descending=False, subscription="late")

    assert found == [logged(n * 1_000_000) for n in (3, 4, 5)]


@pytest.mark.parametrize("descending", [True, False])
async def test_a_rare_outcome_is_looked_for_a_part_at_a_time(
    database: Database, descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_search, "SCANNED_AT_MOST", 10)
    attempts = [logged(n, outcome="failed" if n in (3, 31) else "acked") for n in range(45)]
    await database.delivery_log.save(attempts)

    pages, cursor = 0, None
    found: list[LoggedAttempt] = []
    while pages == 0 or cursor is not None:
        query = AttemptQuery(outcome="failed", descending=descending, cursor=cursor)
        page = await database.delivery_log.query(query)
        found, cursor, pages = found + page.attempts, page.next, pages + 1

    assert pages == 5
    assert {each.attempt.at_us - BEGIN_US for each in found} == {3, 31}
    assert len(found) == 2


async def test_the_oldest_expire_first_and_no_more_than_asked(database: Database) -> None:
    await database.delivery_log.save([logged(n, node=f"node {n % 2}") for n in range(20)])
    before_us = BEGIN_US + 12

    assert await database.delivery_log.expire(before_us, 5) == 5
    assert [each.attempt.at_us - BEGIN_US for each in await all_of(database, descending=False)] == list(range(5, 20))
    assert await database.delivery_log.expire(before_us, 100) == 7
    assert await database.delivery_log.expire(before_us, 100) == 0
    assert await database.delivery_log.count() == 8


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"cursor": "x"}, "cursor"), ({"limit": 0}, "limit"), ({"limit": 1001}, "limit")],
)
async def test_bad_cursors_and_limits_are_named(database: Database, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await database.delivery_log.query(AttemptQuery(**arguments))
    assert caught.value.field == field


async def test_saving_goes_on_while_old_attempts_are_removed(database: Database) -> None:
    await database.delivery_log.save([logged(n) for n in range(5000)])

    async def remove() -> None:
        while await database.delivery_log.expire(BEGIN_US + 5000, 500):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(remove())
        for part in range(5):
            tasks.create_task(database.delivery_log.save([logged(9000 + part * 100 + n) for n in range(100)]))

    assert await database.delivery_log.count() == 500
