"""Nodes of one cluster, one after another: what the first start settles, and who takes over."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from router_client import EventRouterClient
from tests.support.node_process import NodeProcess

pytestmark = pytest.mark.timeout(60)


async def partitions_of(node: NodeProcess) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/v1/partitions") as response:
        return len((await response.json())["partitions"])


async def test_the_first_start_sets_the_number_of_partitions_for_good(redis_url: str, database_url: str) -> None:
    for wanted in ("4", "7"):
        async with NodeProcess(redis_url=redis_url, database_url=database_url, ER_PARTITIONS=wanted) as node:
            assert await partitions_of(node) == 4
            assert await node.terminate() == 0


async def test_a_waiting_node_takes_over_with_the_subscriptions_and_their_backlog(
    redis_url: str, database_url: str
) -> None:
    settings = {"redis_url": redis_url, "database_url": database_url, "ER_PARTITIONS": "8", "ER_LEASE_MS": "60000"}
    async with NodeProcess(node_id="first", **settings) as first:
        async with EventRouterClient(first.url.replace("http", "ws")) as client:
            async with client.subscription("late").topics("a.>").open() as deliveries:
                await client.publish("a.b", {"n": 0}, correlation_id="k")
                delivery = await anext(deliveries)
                await delivery.ack()
            sent = [{"type": "a.b", "payload": {"n": n}, "correlation_id": "k"} for n in range(1, 50)]
            await client.publish_many(sent)
        second = NodeProcess(node_id="second", **settings)
        second.spawn()
        try:
            assert await first.terminate() == 0
            # The lease is a minute: only one that was given back can be taken this soon.
            async with asyncio.timeout(20):
                await second.ready()
            async with (
                EventRouterClient(second.url.replace("http", "ws")) as client,
                client.subscription("late").topics("a.>").open() as deliveries,
            ):
                numbers = []
                while len(numbers) < 49:
                    delivery = await anext(deliveries)
                    numbers.append(delivery.event.payload["n"])
                    await delivery.ack()
        finally:
            second.remove()

    assert numbers == list(range(1, 50))
