"""Nodes of one cluster, one after another: what the first start settles, and who takes over."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from router_client import EventRouterClient
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(60)


async def partitions_of(node: NodeProcess) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/v1/partitions") as response:
        return len((await response.json())["partitions"])


async def test_the_first_start_sets_the_number_of_partitions_for_good(redis_url: str, database_url: str) -> None:
    for wanted in ("4", "7"):
        async with NodeProcess(redis_url=redis_url, database_url=database_url, ER_PARTITIONS=wanted) as node:
            assert await partitions_of(node) == 4
            assert await node.terminate() == 0


async def test_a_waiting_node_takes_over_with_the_subscriptions_of_the_other_and_their_backlog(
    redis_url: str, database_url: str
) -> None:
    settings = {"redis_url": redis_url, "database_url": database_url, "ER_PARTITIONS": "8", "ER_LEASE_MS": "60000"}
    async with NodeProcess(node_id="first", **settings) as first:
        second = NodeProcess(node_id="second", **settings)
        second.spawn()
        try:
            await wait_for(lambda: serves(second), 20, "the second node runs, without partitions")
            await leave_a_backlog(first)
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


async def leave_a_backlog(node: NodeProcess) -> None:
    """Make a subscription, consume one event, and publish 49 more that wait in its queue."""
    async with EventRouterClient(node.url.replace("http", "ws")) as client:
        async with client.subscription("late").topics("a.>").open() as deliveries:
            await client.publish("a.b", {"n": 0}, correlation_id="k")
            delivery = await anext(deliveries)
            await delivery.ack()
        await client.publish_many([{"type": "a.b", "payload": {"n": n}, "correlation_id": "k"} for n in range(1, 50)])
    async with aiohttp.ClientSession() as session:

        async def spilled() -> bool:
            async with session.get(f"{node.url}/metrics") as response:
                return "er_events_spilled_total 49.0" in await response.text()

        await wait_for(spilled, 10, "the backlog is in the subscription's queue")


async def serves(node: NodeProcess) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
