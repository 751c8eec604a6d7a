"""Commands on a Redis Cluster: to the right node, in the order asked, through resharding and the loss of a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from partitioning.errors import RedisUnavailable
from partitioning.leases import ACQUIRE, LEASE_SCRIPTS, RENEW
from partitioning.redis_cluster import RedisCluster
from partitioning.redis_commands import Command, Commands
from partitioning.redis_connect import connect
from tests.support.listening import heard_by
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_server import RedisServer
from tests.support.repeating import repeated
from tests.support.signals import wait_for

# One key of each third of the slots.
LOW, MIDDLE, HIGH = "b", "c", "a"


def acquires(node: str) -> list[Command]:
    return [ACQUIRE.call([f"{{{key}}}lease", f"{{{key}}}epoch"], node, 60_000) for key in (LOW, MIDDLE, HIGH)]


@pytest.fixture
async def commands(redis_cluster_url: str) -> AsyncIterator[Commands]:
    link = connect(redis_cluster_url, LEASE_SCRIPTS)
    yield link
    # The check for keys that leak is for what the router keeps; these are ours.
    await link.run([("EXPIRE", key, 60) for key in ("b", "c", "a", *map(str, range(300)))])
    await link.run([("EXPIRE", f"{{{key}}}epoch", 60) for key in (LOW, MIDDLE, HIGH)])
    await link.close()


@pytest.fixture
async def own_commands(own_redis_cluster: RedisClusterServers) -> AsyncIterator[Commands]:
    link = connect(own_redis_cluster.url, LEASE_SCRIPTS, timeout_s=3.0)
    yield link
    await link.close()


def test_the_keys_are_of_different_nodes(redis_cluster: RedisClusterServers) -> None:
    assert [redis_cluster.primary(key) for key in (LOW, MIDDLE, HIGH)] == redis_cluster.primaries


async def test_replies_come_in_the_order_asked_errors_in_their_place(commands: Commands) -> None:
    keys = [str(n) for n in range(300)]
    assert await commands.run([("SET", key, key) for key in keys]) == [b"OK"] * 300

    wrong: list[Command] = [("INCR", "no number"), ("SET", "no number", "x", "EX", 60), ("INCR", "no number")]
    first, *found, _, second = await commands.run([wrong[0], *(("GET", key) for key in keys), *wrong[1:]])

    assert first == 1
    assert found == [key.encode() for key in keys]
    assert isinstance(second, ResponseError)


async def test_scripts_are_loaded_on_every_node_that_needs_them(commands: Commands) -> None:
    assert [taken for taken, _ in await commands.run(acquires("one"))] == [1, 1, 1]


async def test_keys_of_several_slots_in_one_command_are_refused_in_its_place(commands: Commands) -> None:
    refused, fine = await commands.run([("EVAL", "return 1", 2, LOW, HIGH), ("EXISTS", LOW)])
    assert "slot" in str(refused)
    assert fine == 0
    with pytest.raises(RedisUnavailable, match="slot"):
        await commands.one(("EVAL", "return 1", 2, LOW, HIGH))


async def test_what_is_published_is_heard_by_whoever_listens_at_any_node(
    commands: Commands, redis_cluster: RedisClusterServers
) -> None:
    async with heard_by(commands, "one", "two") as messages:
        await commands.run([("PUBLISH", "one", "1"), ("PUBLISH", "two", "2")])
        assert [await anext(messages) for _ in range(2)] == [("one", b"1"), ("two", b"2")]
        last = redis_cluster.primaries[-1]
        redis_cluster.command(last, "PUBLISH", "one", "from elsewhere")
        assert await anext(messages) == ("one", b"from elsewhere")


def move(servers: RedisClusterServers, key: str, to: RedisServer) -> None:
    """Finish the move of a key's slot: tell all primaries whose it is."""
    slot = key_slot(key.encode())
    for server in (to, *servers.primaries):
        servers.command(server, "CLUSTER SETSLOT", slot, "NODE", servers.id_of(to))


async def test_a_slot_that_moves_is_followed(own_redis_cluster: RedisClusterServers, own_commands: Commands) -> None:
    """A slot with three keys goes from one node to another key by key, while commands run on all of them."""
    servers, slot = own_redis_cluster, key_slot(b"a")
    source, target = servers.primary("a"), servers.primary(LOW)
    keys = ["{a}1", "{a}2", "{a}3"]
    await own_commands.run([("SET", key, key) for key in keys])
    servers.command(target, "CLUSTER SETSLOT", slot, "IMPORTING", servers.id_of(source))
    servers.command(source, "CLUSTER SETSLOT", slot, "MIGRATING", servers.id_of(target))
    servers.command(source, "MIGRATE", "127.0.0.1", target.port, "{a}1", 0, 5000)

    # {a}1 is ASKed for at the target, with its neighbours still at the source; a new key goes to the target too.
    found = await own_commands.run([*(("GET", key) for key in keys), ("SET", "{a}4", "4"), ("GET", LOW)])
    assert found == [b"{a}1", b"{a}2", b"{a}3", b"OK", None]
    assert await own_commands.one(RENEW.call(["{a}lease"], "nobody 1", 60_000)) == 0, "the target had no script yet"

    # Keys on both sides: TRYAGAIN, until the rest has moved.
    both: Command = ("EVAL", "return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}", 2, "{a}1", "{a}2")
    waiting = asyncio.create_task(own_commands.run([both, ("GET", "{a}3")]))
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    for key in keys[1:]:
        servers.command(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    assert await waiting == [[b"{a}1", b"{a}2"], b"{a}3"]

    # MOVED, and the view of who holds what is made anew.
    move(servers, "a", target)
    assert await own_commands.run([("GET", key) for key in keys]) == [b"{a}1", b"{a}2", b"{a}3"]
    assert servers.primary("a") is target


async def test_a_slot_that_nobody_holds_is_waited_for_and_then_given_up(
    own_redis_cluster: RedisClusterServers, own_commands: Commands
) -> None:
    holder, slot = own_redis_cluster.primary("a"), key_slot(b"a")
    own_redis_cluster.command(holder, "CLUSTER DELSLOTS", slot)

    waiting = asyncio.create_task(own_commands.run([("SET", "a", "1"), ("SET", LOW, "2")]))
    await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    own_redis_cluster.command(holder, "CLUSTER ADDSLOTS", slot)
    assert await waiting == [b"OK", b"OK"]

    own_redis_cluster.command(holder, "CLUSTER DELSLOTS", slot)
    link = connect(own_redis_cluster.url, [], timeout_s=0.5)
    with pytest.raises(RedisUnavailable, match=r"within 0.5 s"):
        await link.one(("GET", "a"))
    await link.close()


@pytest.mark.parametrize("key", [LOW, MIDDLE, HIGH])
async def test_commands_run_again_after_a_primary_was_killed_scripts_too(
    own_redis_cluster: RedisClusterServers, own_commands: Commands, key: str
) -> None:
    *taken, replicas = await own_commands.run([*acquires("one"), ("WAIT", 1, 1000)])
    assert [each for each, _ in taken] == [1, 1, 1]
    assert replicas == 1

    killed = own_redis_cluster.kill_primary(key)
    with pytest.raises(RedisUnavailable, match=str(killed.port)):
        await own_commands.run([("GET", key)])
    again = await repeated(own_commands, [*acquires("two"), ("PING",)], within_s=8)

    assert [taken for taken, _ in again[:3]] == [0, 0, 0], "the leases were replicated"
    assert again[3] == b"PONG"
    assert await own_commands.run([("SET", f"{{{key}}}2", "2"), ("GET", LOW)]) == [b"OK", None]


async def test_listening_goes_on_elsewhere_after_its_node_was_killed(
    own_redis_cluster: RedisClusterServers, own_commands: Commands
) -> None:
    assert isinstance(own_commands, RedisCluster)
    home = (await own_commands.primaries())[0][1]
    by_port = {own_redis_cluster.primary(key).port: key for key in (LOW, MIDDLE, HIGH)}
    async with heard_by(own_commands, "news") as messages:
        own_redis_cluster.kill_primary(by_port[home])
        with pytest.raises(RedisUnavailable):
            await anext(messages)
    await repeated(own_commands, [("PING",)], within_s=8)
    async with heard_by(own_commands, "news") as messages:
        await own_commands.one(("PUBLISH", "news", "after"))
        assert await anext(messages) == ("news", b"after")


async def test_a_node_that_hangs_is_given_up_when_its_replica_took_over(
    own_redis_cluster: RedisClusterServers, own_commands: Commands
) -> None:
    await own_commands.run([("SET", key, key) for key in (LOW, MIDDLE, HIGH)])
    own_redis_cluster.command(own_redis_cluster.primary(MIDDLE), "WAIT", 1, 1000)
    paused = own_redis_cluster.pause_primary(MIDDLE)

    assert await own_commands.run([("GET", LOW), ("GET", HIGH)]) == [b"b", b"a"], "the other nodes go on"
    assert await repeated(own_commands, [("GET", MIDDLE)], within_s=10) == [b"c"]
    paused.resume()
    assert await own_commands.run([("SET", MIDDLE, "new"), ("GET", MIDDLE)]) == [b"OK", b"new"]


async def test_what_is_no_cluster_is_said(redis_server: RedisServer) -> None:
    link = connect(f"redis+cluster://127.0.0.1:{redis_server.port}", [])
    with pytest.raises(RedisUnavailable, match="cluster support disabled"):
        await link.one(("PING",))
    await link.close()


async def test_waiting_for_replicas_means_those_of_every_node_written_to(
    own_redis_cluster: RedisClusterServers, own_commands: Commands
) -> None:
    writes: list[Command] = [("SET", key, key) for key in (LOW, MIDDLE, HIGH)]
    assert await own_commands.run([*writes, ("WAIT", 1, 1000)]) == [b"OK"] * 3 + [1]
    assert await own_commands.run([("WAIT", 1, 1000)]) == [1]

    own_redis_cluster.replica(MIDDLE).pause()

    assert await own_commands.run([*writes, ("WAIT", 1, 100)]) == [b"OK"] * 3 + [0]
    assert await own_commands.run([*writes[::2], ("WAIT", 1, 1000)]) == [b"OK", b"OK", 1]


async def test_a_primary_that_became_a_replica_is_asked_once_more_and_then_no_longer(
    own_redis_cluster: RedisClusterServers, own_commands: Commands
) -> None:
    assert isinstance(own_commands, RedisCluster)
    servers = own_redis_cluster
    call: list[Command] = [("SET", MIDDLE, "1"), ("WAIT", 1, 1000)]
    assert await own_commands.run(call) == [b"OK", 1]
    before, after = servers.primary(MIDDLE), servers.replica(MIDDLE)
    servers.command(after, "CLUSTER FAILOVER")
    await wait_for(lambda: servers.primary(MIDDLE) is after, 10, "the replica is the primary")
    await asyncio.to_thread(servers.wait_until_healed, replicated=True)

    assert await own_commands.run(call) == [b"OK", 1], "MOVED: what the old primary says to WAIT is of no matter"

    ports = {port for _, port in await own_commands.primaries()}
    assert after.port in ports
    assert before.port not in ports
