"""Three nodes whose Redis dies, fills up, forgets everything or drops connections, under load."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.chaos.aftermath import tokens
from tests.chaos.cluster_site import LEASE_MS, PARTITIONS, looking_into, nodes_on, one_redis
from tests.chaos.conftest import Note
from tests.chaos.load import CREDIT, Level
from tests.chaos.under_load import under_load
from tests.support.fault_proxy import FaultProxy
from tests.support.node_process import NodeProcess
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

FULL_FOR_S = 3.0

pytestmark = pytest.mark.timeout(180)


async def test_redis_killed_and_started_with_its_append_only_file_loses_nothing(seed: int, note: Note) -> None:
    async with one_redis() as (site, redis), under_load(site, seed, note) as run:
        killed_at = time.monotonic()
        await asyncio.to_thread(redis.kill)
        # Longer than a lease: every owner has to stop by itself.
        await asyncio.sleep(1.5 * LEASE_MS / 1000)
        await asyncio.to_thread(redis.start)
        # What was settled in the consumers' eyes and not in Redis comes again: it is all in the append-only file.
        await run.excuse_what_is_in_flight(4 * CREDIT)
        await run.load.flows(1500)
        gaps = run.load.checker.longest_gaps(killed_at, time.monotonic())
        note("longest gap", f"{gaps[0].seconds:.2f} s, of which Redis was away {1.5 * LEASE_MS / 1000:.2f} s")


async def test_pub_sub_cut_again_and_again_only_delays(seed: int, note: Note) -> None:
    async with one_redis() as (site, _), under_load(site, seed, note) as run:
        cut = 0
        for _ in range(15):
            # A lost delivery is no repeat, a lost acknowledgement is one: of what was in flight at the cut.
            await run.excuse_what_is_in_flight(CREDIT)
            cut += await site.redis.client_kill_filter(_type="pubsub")
            await run.load.flows(150)
        note("pub/sub connections cut", cut)
        assert cut >= 15


@pytest.mark.slow
@pytest.mark.parametrize("wipes", [1, 5])
async def test_redis_wiped_under_load_loses_nothing_that_was_stored(wipes: int, seed: int, note: Note) -> None:
    async with one_redis() as (site, _), under_load(site, seed, note, Level(ack="stored")) as run:
        for _ in range(wipes):
            # All that has an outbox row is fed again: what is in flight, and what was settled since the last clearing.
            await run.excuse_what_is_in_flight(2 * 1500)
            await site.redis.flushall()
            await run.load.flows(1500)


@pytest.mark.slow
async def test_redis_wiped_while_a_node_dies_loses_nothing_that_was_stored(seed: int, note: Note) -> None:
    async with one_redis() as (site, _), under_load(site, seed, note, Level(ack="stored")) as run:
        await run.excuse_what_is_in_flight(2 * 1500)
        site.nodes[0].kill()
        await site.redis.flushall()
        await run.load.flows(1500)


@pytest.mark.slow
async def test_a_full_redis_refuses_publishers_loses_nothing_and_recovers_by_itself(seed: int, note: Note) -> None:
    async with one_redis() as (site, _), under_load(site, seed, note) as run:
        await run.excuse_what_is_in_flight()
        await site.redis.config_set("maxmemory", "1mb")
        await wait_for(
            lambda: any(error.startswith("overloaded") for error in run.load.errors), 30, "publishers are refused"
        )
        # Reading and settling need no memory and free some, so they go on, and owners stay owners.
        await run.load.all_delivered(10)
        await asyncio.sleep(FULL_FOR_S)
        assert len(await tokens(site.redis, PARTITIONS)) == PARTITIONS
        assert not [error for error in run.load.errors if error.startswith("unavailable")]
        await site.redis.config_set("maxmemory", "0")
        await run.load.flows(1500)


async def refusal(node: NodeProcess) -> str:
    """Publish one event to a node and return why it refuses; an AssertionError when it accepts or does not say."""
    event = {"type": "cut.off", "id": "cut-off", "payload": {}}
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{node.url}/v1/events", json=event) as response,
    ):
        problem = await response.json()
        assert response.status == 503, problem
        return str(problem["detail"])


async def unready(node: NodeProcess) -> bool:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
        session.get(f"{node.url}/readyz") as response,
    ):
        return response.status == 503


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stalled", "refused"])
async def test_a_node_cut_off_from_redis_refuses_its_clients_and_says_why(how: str, seed: int, note: Note) -> None:
    with RedisServer().start(appendonly=True) as server:
        async with FaultProxy("127.0.0.1", server.port) as proxy, looking_into(server.url) as redis:
            cut_off = {0: {"ER_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}}
            async with nodes_on(server.url, redis, special=cut_off) as site, under_load(site, seed, note) as run:
                node = site.nodes[0]
                cut_at = time.monotonic()
                if how == "stalled":
                    proxy.stall()
                else:
                    proxy.refuse()
                    proxy.drop_connections()
                await run.excuse_what_is_in_flight(CREDIT)
                await wait_for(lambda: unready(node), 10, "the node is not ready")
                note("cut off to not ready", f"{time.monotonic() - cut_at:.2f} s")
                why = await refusal(node)
                note("the node says", why)
                assert "redis" in why.lower()
                await run.load.flows(1500)
                # What its connections hold goes on its way now: nothing of it may count.
                await run.excuse_what_is_in_flight(CREDIT)
                proxy.flow()
                await proxy.accept()
                await site.whole()
                await run.load.flows(1500)
