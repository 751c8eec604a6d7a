"""Nodes on Redis Cluster, and on a primary with replicas that sentinels watch: everything works there too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from router_client.errors import EventRouterError
from tests.cluster.site import client, get, nodes
from tests.cluster.test_growth import AFTER, BEFORE, grow, grown
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_sentinel import RedisSentinels
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["cluster", "sentinel"])
def other_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    with RedisClusterServers() if request.param == "cluster" else RedisSentinels() as servers:
        yield servers.url


async def test_events_go_through_two_nodes_at_every_level_and_partitions_are_added(
    other_redis: str, database_url: str
) -> None:
    async with (
        nodes(other_redis, database_url, 2, partitions=BEFORE) as (one, two),
        client(two) as there,
        there.subscription("late").topics("a.>").credit(50).open() as deliveries,
        client(one) as publisher,
    ):

        async def published(start: int, level: str) -> bool:
            events = [
                {"type": "a.b", "id": f"e{n}", "correlation_id": f"k{n}", "payload": {"n": n}}
                for n in range(start, start + 100)
            ]
            results = await publisher.publish_many(events, ack=level)
            return not any(isinstance(result, EventRouterError) for result in results)

        assert await published(0, "accepted")
        await wait_for(lambda: published(100, "replicated"), 20, "the replicas of new servers confirm in time")
        assert await published(200, "stored")
        assert await grow(one, AFTER) == 202
        await wait_for(lambda: grown(two), 30, "the growth ends")
        assert await published(300, "accepted")
        seen = set()
        async with asyncio.timeout(30):
            while len(seen) < 400:
                delivery = await anext(deliveries)
                seen.add(delivery.event.payload["n"])
                await delivery.ack()
        owners = {each["owner"] for each in (await get(one, "/v1/partitions"))["partitions"]}

    assert owners == {"one", "two"}
