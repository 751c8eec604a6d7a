"""What every DeadLetters promises, in SQLite and in the streams of Redis and of a Redis Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases
from partitioning.redis_connect import connect
from router_client.errors import InvalidInput
from router_node.log.port import LaneKey, LaneStep
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_lanes import STEP, RedisLanes
from stores.dead_letters import RedisDeadLetters
from stores.open import open_database
from stores.ports import DeadLetter, DeadLetters
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


async def test_subscription_and_reason_filter(place: Place) -> None:
    for n, (subscription, reason) in enumerate([("a", "attempts"), ("b", "attempts"), ("a", "rejected")]):
        await place.add(letter(n, subscription, reason))

    async def events(**conditions: str) -> set[str]:
        return {found.event_id for found in (await place.letters.list(**conditions)).letters}  # type: ignore[arg-type]

    assert await events(subscription="a") == {"e0", "e2"}
    assert await events(reason="attempts") == {"e0", "e1"}
    assert await events(subscription="a", reason="rejected") == {"e2"}
    assert await events(subscription="c") == set()


async def test_pages_hold_every_letter_once(place: Place) -> None:
    for n in range(23):
        await place.add(letter(n, "odd" if n % 2 else "even"))
    for subscription, expected in ((None, 23), ("odd", 11)):
        seen: list[str] = []
        cursor = None
        while True:
            page = await place.letters.list(subscription=subscription, limit=4, cursor=cursor)
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
    ):
        with pytest.raises(InvalidInput) as caught:
            await place.letters.list(**arguments)  # type: ignore[arg-type]
        assert caught.value.field == field
