"""The limits that nodes tell in Redis."""

from __future__ import annotations

from partitioning.growth import Growth, Plan
from partitioning.keys import Keys
from partitioning.limits import Limits
from partitioning.redis_connect import connect

TOLD = Limits(backlog=7, dedup_ms=1000, dedup_ids=9, event_bytes=2048, replicas=2, lease_ms=500)


def test_limits_are_read_as_they_were_told() -> None:
    assert Limits.read(TOLD.text().encode()) == TOLD


def test_what_a_node_of_another_version_does_not_say_is_the_default_and_what_it_says_more_is_passed_over() -> None:
    assert Limits.read(b'{"backlog": 7, "moons": 4}') == Limits(backlog=7)
    assert Limits.read(None) == Limits()


async def test_they_stand_beside_the_plan_and_come_back_with_it(redis_url: str) -> None:
    commands = connect(redis_url, [])
    try:
        growth = Growth(commands, Keys("default"), TOLD)
        await growth.propose(4)
        assert await Growth(commands, Keys("default")).limits() == TOLD
        await commands.one(("FLUSHALL",))
        await growth.restore(Plan(4))
        assert await growth.limits() == TOLD
    finally:
        await commands.close()
