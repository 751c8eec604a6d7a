"""The primary of a Sentinel service or of a Redis Cluster is killed under load.

Replication is asynchronous, so what was only `accepted` in the last moments may go with the primary. What is asserted
is therefore the levels that survive it: `replicated`, which a replica has confirmed, and `stored`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel

from partitioning.keys import Keys
from tests.chaos.cluster_site import nodes_on
from tests.chaos.conftest import Note
from tests.chaos.load import CREDIT, Level
from tests.chaos.under_load import under_load
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_sentinel import SERVICE, RedisSentinels

# What was settled, and acknowledged to the consumers' eyes, in the moments that the replica had not got yet.
LAG = 4 * CREDIT

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]


@asynccontextmanager
async def looking_at_the_primary(servers: RedisSentinels) -> AsyncIterator[Redis]:
    sentinels = Sentinel([("127.0.0.1", port) for port in servers.sentinel_ports])
    try:
        async with sentinels.master_for(SERVICE) as redis:
            yield redis
    finally:
        for sentinel in sentinels.sentinels:
            await sentinel.aclose()


@pytest.mark.parametrize("ack", ["replicated", "stored"])
async def test_a_primary_killed_under_sentinel_loses_nothing(ack: str, seed: int, note: Note) -> None:
    with RedisSentinels() as servers:
        async with (
            looking_at_the_primary(servers) as redis,
            nodes_on(servers.url, redis) as site,
            under_load(site, seed, note, Level(ack=ack)) as run,
        ):
            await run.excuse_what_is_in_flight(LAG)
            killed_at = time.monotonic()
            await asyncio.to_thread(servers.kill_primary)
            await asyncio.to_thread(servers.wait_until_failed_over)
            note("kill to the new primary", f"{time.monotonic() - killed_at:.1f} s")
            await run.load.flows(1500)
            gaps = run.load.checker.longest_gaps(killed_at, time.monotonic())
            note("longest gap", f"{gaps[0].seconds:.1f} s")


@pytest.mark.parametrize("ack", ["replicated", "stored"])
async def test_a_killed_primary_of_a_redis_cluster_loses_nothing(ack: str, seed: int, note: Note) -> None:
    with RedisClusterServers() as servers:
        async with (
            RedisCluster("127.0.0.1", servers.servers[-1].port) as redis,
            nodes_on(servers.url, redis) as site,
            under_load(site, seed, note, Level(ack=ack)) as run,
        ):
            await run.excuse_what_is_in_flight(LAG)
            killed_at = time.monotonic()
            killed = await asyncio.to_thread(servers.kill_primary, Keys("default").lease(3))
            await asyncio.to_thread(servers.wait_until_healed)
            note("kill to the new primary", f"{time.monotonic() - killed_at:.1f} s")
            # As the replica of its successor, without which nothing of its share could be `replicated` any more.
            await asyncio.to_thread(servers.restart, killed)
            await run.load.flows(1500)
            gaps = run.load.checker.longest_gaps(killed_at, time.monotonic())
            note("longest gap", f"{gaps[0].seconds:.1f} s")
