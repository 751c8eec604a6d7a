"""Redis behind Sentinel: fail-overs are met by repeating, and no old primary is written to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from partitioning.errors import RedisUnavailable
from partitioning.leases import ACQUIRE, LEASE_SCRIPTS
from partitioning.redis_commands import Commands
from partitioning.redis_connect import connect
from partitioning.redis_sentinel import LOOK_EVERY_S
from tests.support.listening import heard_by
from tests.support.redis_sentinel import RedisSentinels
from tests.support.repeating import repeated
from tests.support.signals import wait_for


@pytest.fixture
async def commands(own_redis_sentinels: RedisSentinels) -> AsyncIterator[Commands]:
    link = connect(own_redis_sentinels.url, LEASE_SCRIPTS, connections=4, timeout_s=2.0)
    yield link
    await link.close()


async def test_commands_run_again_after_the_primary_was_killed_scripts_too(
    own_redis_sentinels: RedisSentinels, commands: Commands
) -> None:
    lease = ["lease 1", "epoch 1"]
    (taken, _), replicas = await commands.run([ACQUIRE.call(lease, "one", 60_000), ("WAIT", 2, 1000)])
    assert (taken, replicas) == (1, 2)

    own_redis_sentinels.kill_primary()
    with pytest.raises(RedisUnavailable):
        await commands.run([("GET", "lease 1")])
    again, other, found = await repeated(
        commands,
        [
            ACQUIRE.call(lease, "two", 60_000),
            ACQUIRE.call(["lease 2", "epoch 2"], "two", 60_000),
            ("EXISTS", "epoch 1"),
        ],
        within_s=8,
    )

    assert again[0] == 0, "the lease was replicated"
    assert other[0] == 1
    assert found == 1


async def test_a_demoted_primary_is_left_although_it_lives(
    own_redis_sentinels: RedisSentinels, commands: Commands
) -> None:
    """SENTINEL FAILOVER while connections are open: the old primary becomes a replica that answers reads."""
    old = own_redis_sentinels.primary
    await asyncio.gather(*(commands.run([("SET", f"k{n}", n)]) for n in range(20)))
    with Redis(port=own_redis_sentinels.sentinel_ports[0]) as sentinel:
        sentinel.execute_command("SENTINEL FAILOVER", "er")
    await asyncio.to_thread(own_redis_sentinels.wait_until_failed_over, old)

    async def at_the_new_one() -> bool:
        ((_, port),) = await repeated(commands, [("CONFIG", "GET", "port")], within_s=8)
        return int(port) != old.port

    # The old primary is told last; until a look at the sentinels is due, reads may still go there.
    await wait_for(at_the_new_one, LOOK_EVERY_S + 0.5, "the old primary is left")
    for n in range(20):
        assert await repeated(commands, [("SET", f"k{n}", n), ("CONFIG", "GET", "port")], within_s=3) == [
            b"OK",
            [b"port", str(own_redis_sentinels.primary.port).encode()],
        ]


async def test_a_primary_that_hangs_is_left_once_the_sentinels_name_another(
    own_redis_sentinels: RedisSentinels, commands: Commands
) -> None:
    await commands.run([("SET", "k", "v"), ("WAIT", 2, 1000)])
    old = own_redis_sentinels.primary
    async with heard_by(commands, "news") as messages:
        old.pause()
        listening = asyncio.ensure_future(anext(messages))
        assert await repeated(commands, [("GET", "k")], within_s=10) == [b"v"]

        async def is_cut_off() -> bool:
            await repeated(commands, [("PING",)], within_s=3)  # it is calls that look where the primary is
            return listening.done()

        await wait_for(is_cut_off, 5, "the listener is cut off from the old primary")
        with pytest.raises(RedisUnavailable):
            await listening
    old.resume()
    await wait_for(lambda: own_redis_sentinels.primary is not old, 1, "the other one stays the primary")
    assert await repeated(commands, [("SET", "k", "w"), ("GET", "k")], within_s=3) == [b"OK", b"w"]


async def test_listening_goes_on_at_the_new_primary(own_redis_sentinels: RedisSentinels, commands: Commands) -> None:
    async with heard_by(commands, "news") as messages:
        await commands.one(("PUBLISH", "news", "before"))
        assert await anext(messages) == ("news", b"before")
        own_redis_sentinels.kill_primary()
        with pytest.raises(RedisUnavailable):
            await anext(messages)
    await repeated(commands, [("PING",)], within_s=8)
    async with heard_by(commands, "news") as messages:
        await commands.one(("PUBLISH", "news", "after"))
        assert await anext(messages) == ("news", b"after")


async def test_one_sentinel_is_enough_and_one_that_is_paused_costs_nothing(
    own_redis_sentinels: RedisSentinels,
) -> None:
    own_redis_sentinels.sentinels[0].pause()
    link = connect(own_redis_sentinels.url, [])
    async with asyncio.timeout(0.9):
        await link.one(("PING",))
    await link.close()
    own_redis_sentinels.sentinels[1].kill()
    link = connect(own_redis_sentinels.url, [])
    assert await link.one(("PING",)) == b"PONG"
    await link.close()


async def test_an_unknown_service_and_silent_sentinels_are_said(own_redis_sentinels: RedisSentinels) -> None:
    link = connect(own_redis_sentinels.url.replace("/er/", "/other/"), [])
    with pytest.raises(RedisUnavailable, match=r"primary of other: .*No such master"):
        await link.one(("PING",))
    await link.close()


async def test_a_script_that_was_forgotten_is_waited_for_as_well(own_redis_sentinels: RedisSentinels) -> None:
    link = connect(own_redis_sentinels.url, LEASE_SCRIPTS)
    own_redis_sentinels.servers[1].pause()
    own_redis_sentinels.servers[2].pause()
    try:
        assert (await link.run([ACQUIRE.call(["lease", "epoch"], "one", 60_000), ("WAIT", 1, 100)]))[1] == 0, (
            "written after the WAIT that met no script"
        )
    finally:
        await link.close()
