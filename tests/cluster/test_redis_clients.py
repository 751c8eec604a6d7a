"""Clients of Redis among several nodes: they follow a growth, and leave a node that dies for another."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from router_client import Backoff, ClientOptions, EventRouterClient, PublishResult
from tests.cluster.site import get, nodes
from tests.cluster.test_growth import AFTER, BEFORE, grow, grown
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)

OPTIONS = ClientOptions(backoff=Backoff(base_s=0.02, max_s=0.2), connect_timeout_s=2)


def numbered(start: int, count: int) -> list[dict[str, str]]:
    return [{"type": "a.b", "id": f"{n}", "correlation_id": f"k{n % 40}"} for n in range(start, start + count)]


async def test_a_growth_refuses_nothing_loses_nothing_and_keeps_the_order(redis_url: str, database_url: str) -> None:
    async with (
        nodes(redis_url, database_url, 2, partitions=BEFORE) as (one, two),
        EventRouterClient(redis_url, options=OPTIONS) as client,
        client.subscription("s").topics("a.*").open() as deliveries,
    ):
        outcomes: list[object] = []

        async def publish(count: int) -> None:
            start = len(outcomes)
            events = [
                {"type": "a.b", "id": f"{n}", "correlation_id": f"k{n % 40}"} for n in range(start, start + count)
            ]
            outcomes.extend(await client.publish_many(events, batch=20))

        async def publish_until_grown() -> None:
            while not await grown(one):
                await publish(200)
                await asyncio.sleep(0.02)

        await publish(400)
        assert await grow(two, AFTER) == 202
        async with asyncio.timeout(30):
            await publish_until_grown()
        await publish(400)
        again = await client.publish_many(numbered(0, 400))
        seen: dict[int, list[int]] = defaultdict(list)
        async with asyncio.timeout(40):
            for _ in outcomes:
                delivery = await anext(deliveries)
                await delivery.ack()
                number = int(delivery.event.id)
                seen[number % 40].append(number)

    results = [each for each in outcomes if isinstance(each, PublishResult)]
    assert len(results) == len(outcomes)
    assert not any(each.duplicate for each in results)
    assert max(each.partition for each in results) >= BEFORE
    assert all(isinstance(each, PublishResult) and each.duplicate for each in again)
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert sum(map(len, seen.values())) == len(outcomes)


async def test_a_subscription_moves_to_another_node_when_its_own_dies(redis_url: str, database_url: str) -> None:
    async with (
        nodes(redis_url, database_url, 2, lease_ms=1000) as (one, two),
        EventRouterClient(redis_url, options=OPTIONS) as client,
        client.subscription("s").topics("a.*").ack_timeout(2).open() as deliveries,
    ):
        serving: list[NodeProcess] = []

        async def found() -> bool:
            consumers = {each["node"]: each["consumers"] for each in (await get(one, "/v1/nodes"))["nodes"]}
            serving[:] = [node for node, name in ((one, "one"), (two, "two")) if consumers.get(name)]
            return len(serving) == 1

        await wait_for(found, 10, "one node tells of the consumer")
        serving[0].kill()
        await client.publish_many([{"type": "a.b", "id": f"{n}"} for n in range(50)])
        seen = set()
        async with asyncio.timeout(20):
            while len(seen) < 50:
                delivery = await anext(deliveries)
                await delivery.ack()
                seen.add(delivery.event.id)
        assert deliveries.reconnects == 1
