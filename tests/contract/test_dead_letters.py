"""What every DeadLetters promises, in SQLite and in the streams of Redis and of a Redis Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases
from partitioning.redis_connect import connect
from router_client.errors import InvalidInput
from router_node.log.port import LaneKey, LaneStep
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_lanes import STEP, RedisLanes
from stores import dead_letters
from stores.dead_letters import RedisDeadLetters
from stores.open import open_database
from stores.ports import DeadLetter, DeadLetters, LetterFilter
from stores.sqlite.database import SqliteDatabase

PARTITIONS = 4


@dataclass
class Place:
    letters: DeadLetters
    add: Callable[[DeadLetter], Awaitable[None]]


@pytest.fixture(params=["sqlite", "redis", "cluster"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "sqlite":
        database = await open_database("sqlite:///:memory:")
        assert isinstance(database, SqliteDatabase)
        await database.migrate()

        async def add(letter: DeadLetter) -> None:
            await database.dead_letters.add([letter])

        yield Place(database.dead_letters, add)
        await database.close()
        return
    url = request.getfixturevalue("redis_url" if request.param == "redis" else "redis_cluster_url")
    async with redis_place(url) as place:
        yield place


@asynccontextmanager
async def redis_place(url: str) -> AsyncIterator[Place]:
    redis, keys = connect(url, [STEP, *LEASE_SCRIPTS]), Keys("test")
    tokens = await Leases(redis, keys, "node", 60_000).acquire(range(PARTITIONS))
    lanes = RedisLanes(RedisCalls(redis), keys, tokens)

    async def bury(letter: DeadLetter) -> None:
        await lanes.step([LaneStep(LaneKey(letter.partition, letter.subscription, 5), dead=[letter])])

    yield Place(RedisDeadLetters(redis, keys, lambda: PARTITIONS), bury)
    await redis.close()


def letter(n: int, subscription: str = "late", reason: str = "attempts") -> DeadLetter:
    return DeadLetter(
        id=f"letter-{n}",
        subscription=subscription,
        partition=n % PARTITIONS,
        reason=reason,
        error="it said „no“",
        attempts=5,
        accepted_at_us=1000 + n,
        dead_at_us=2000 + n,
        event_id=f"e{n}",
        event_type="a.b",
        body=b'{"n":%d}' % n,
    )


async def test_what_was_buried_is_found_as_it_was(place: Place) -> None:
    await place.add(letter(1))

    (found,) = (await place.letters.list()).letters

    assert replace(found, id="letter-1") == letter(1)
    assert await place.letters.get(found.id) == found
    assert await place.letters.count() == 1


@pytest.mark.parametrize("unknown", ["", "nothing", "1-1-1", "3-0-1", "99-1-1", f"1-{2**64}-0"])
async def test_what_is_not_there_is_none(place: Place, unknown: str) -> None:
    assert await place.letters.get(unknown) is None
    assert await place.letters.remove([unknown]) == 0


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"subscription": "a"}, {"e0", "e2"}),
    ({"reason": "attempts"}, {"e0", "e1"}),
    ({"subscription": "a", "reason": "rejected"}, {"e2"}),
    ({"subscription": "c"}, set()),
    ({"type": "flights.departed.ua"}, {"e1"}),
    ({"type": "flights.>"}, {"e0", "e1"}),
    ({"type": "flights.*.ua"}, {"e0", "e1"}),
    ({"type": "*.departed.>"}, {"e1", "e2"}),
    ({"type": "flights.*"}, set()),
    ({"since": datetime.fromtimestamp(0.002001, UTC)}, {"e1", "e2"}),
    ({"until": datetime.fromtimestamp(0.002001, UTC)}, {"e0"}),
    ({"since": datetime.fromtimestamp(0.002001, UTC), "type": "flights.>", "subscription": "b"}, {"e1"}),
]


async def test_all_conditions_must_hold(place: Place) -> None:
    types = ["flights.arrived.ua", "flights.departed.ua", "ships.departed.ua"]
    for n, (subscription, reason) in enumerate([("a", "attempts"), ("b", "attempts"), ("a", "rejected")]):
        await place.add(replace(letter(n, subscription, reason), event_type=types[n]))

    for conditions, expected in FILTERS:
        page = await place.letters.list(LetterFilter(**conditions))
        assert {found.event_id for found in page.letters} == expected, conditions


async def test_counts_by_subscription_and_reason(place: Place) -> None:
    assert await place.letters.counts() == ([], True)
    for n in range(250):
        await place.add(replace(letter(n, "odd" if n % 2 else "even"), partition=n % 7 % 2))
    await place.add(letter(251, "odd", "rejected"))

    assert await place.letters.counts() == (
        [("even", "attempts", 125), ("odd", "attempts", 125), ("odd", "rejected", 1)],
        True,
    )


async def test_too_many_to_look_at_are_counted_in_part(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "COUNTED_AT_MOST", 200)
    async with redis_place(redis_url) as place:
        for n in range(350):
            await place.add(replace(letter(n), partition=n // 200))

        (count,), complete = await place.letters.counts()

    assert not complete
    assert 200 <= count.letters < 350


async def test_pages_hold_every_letter_once(place: Place) -> None:
    for n in range(23):
        await place.add(letter(n, "odd" if n % 2 else "even"))
    for subscription, expected in ((None, 23), ("odd", 11)):
        seen: list[str] = []
        cursor = None
        while True:
            page = await place.letters.list(LetterFilter(subscription=subscription), limit=4, cursor=cursor)
            seen += [found.event_id for found in page.letters]
            cursor = page.next
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == expected


async def test_remove_says_how_many_went(place: Place) -> None:
    for n in range(3):
        await place.add(letter(n))
    found = (await place.letters.list()).letters

    assert await place.letters.remove([found[0].id, found[1].id, found[0].id]) == 2

    assert [left.id for left in (await place.letters.list()).letters] == [found[2].id]


async def test_bad_cursors_and_limits_are_named(place: Place) -> None:
    for arguments, field in (
        ({"cursor": "x"}, "cursor"),
        ({"cursor": f"1-{2**64}-{2**64}"}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"wanted": LetterFilter(type="a..b")}, "type"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await place.letters.list(**arguments)  # type: ignore[arg-type]
        assert caught.value.field == field
