"""Clients that append to Redis behind sentinels, and to a Redis Cluster, while the primary is killed."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from router_client import Backoff, ClientOptions, EventRouterClient, PublishResult
from tests.router_client.unread_cluster import cluster_at, in_streams
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_sentinel import RedisSentinels
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(90)

OPTIONS = ClientOptions(backoff=Backoff(base_s=0.05, max_s=0.3), connect_timeout_s=2, request_timeout_s=2)
BATCH = 20


@pytest.mark.parametrize("kind", ["own_redis_sentinels", "own_redis_cluster"])
async def test_what_replicas_confirmed_is_there_after_the_primary_was_killed(
    kind: str, request: pytest.FixtureRequest
) -> None:
    servers: RedisSentinels | RedisClusterServers = request.getfixturevalue(kind)
    acknowledged: set[str] = set()
    numbers = itertools.count()
    async with cluster_at(servers.url), EventRouterClient(servers.url, options=OPTIONS) as client:

        async def publish() -> int:
            events = [{"type": "a.b", "id": f"{next(numbers)}"} for _ in range(BATCH)]
            accepted = [
                e.id for e in await client.publish_many(events, ack="replicated") if isinstance(e, PublishResult)
            ]
            acknowledged.update(accepted)
            return len(accepted)

        async def all_accepted() -> bool:
            return await publish() == BATCH

        await wait_for(all_accepted, 20, "new replicas confirm in time")
        for _ in range(10):
            await publish()
        if isinstance(servers, RedisClusterServers):
            killed = await asyncio.to_thread(servers.kill_primary, "{er:default:0}:pos")
            await asyncio.to_thread(servers.wait_until_healed)
            # The new primary was the only replica: it has one again when the old one comes back.
            await asyncio.to_thread(servers.restart, killed)
        else:
            await asyncio.to_thread(servers.kill_primary)
        await wait_for(all_accepted, 40, "the new primary takes appends and its replicas confirm them")
        for _ in range(5):
            await publish()
    found = await in_streams(servers.url)
    assert len(acknowledged) > 10 * BATCH
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))
