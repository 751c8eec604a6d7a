"""Leases on a real Redis and on a real Cluster: one holder at a time, epochs that only grow, time that is Redis's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases, epoch_of
from partitioning.redis_commands import Commands
from partitioning.redis_connect import connect
from tests.support.signals import wait_for

KEYS = Keys("test")


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
async def commands(request: pytest.FixtureRequest) -> AsyncIterator[Commands]:
    link = connect(request.getfixturevalue(request.param), LEASE_SCRIPTS)
    yield link
    await link.close()


async def test_a_free_lease_is_taken_and_a_held_one_is_not(commands: Commands) -> None:
    one, two = Leases(commands, KEYS, "one"), Leases(commands, KEYS, "two")

    taken = await one.acquire([0, 1])

    assert set(taken) == {0, 1}
    assert set(await two.acquire([0, 1, 2])) == {2}


async def test_each_owner_has_a_greater_epoch_even_when_the_clock_or_the_data_went_back(
    commands: Commands,
) -> None:
    leases = Leases(commands, KEYS, "one")
    first = await leases.acquire([0])
    await leases.release(first)
    await commands.one(("SET", KEYS.epoch(0), "99999999999999"))
    second = await leases.acquire([0])
    await leases.release(second)
    await commands.one(("DEL", KEYS.epoch(0)))
    third = await leases.acquire([0])

    assert epoch_of(second[0]) == 100_000_000_000_000 > epoch_of(first[0])
    seconds, _ = await commands.one(("TIME",))
    assert abs(epoch_of(third[0]) - int(seconds) * 1000) < 60_000, "without a last epoch, Redis's time in milliseconds"


async def test_a_lease_runs_out_by_itself_and_cannot_be_prolonged_then(commands: Commands) -> None:
    leases = Leases(commands, KEYS, "one", lease_ms=200)
    held = await leases.acquire([0])
    assert await leases.renew(held) == set()

    async def gone() -> bool:
        return not await commands.one(("EXISTS", KEYS.lease(0)))

    await wait_for(gone, 5, "the lease runs out")
    assert await leases.renew(held) == {0}
    assert set(await Leases(commands, KEYS, "two").acquire([0])) == {0}
    assert await leases.renew(held) == {0}


async def test_a_stranger_s_release_changes_nothing(commands: Commands) -> None:
    held = await Leases(commands, KEYS, "one").acquire([0])

    await Leases(commands, KEYS, "two").release({0: "two 1"})

    assert await Leases(commands, KEYS, "one").renew(held) == set()
