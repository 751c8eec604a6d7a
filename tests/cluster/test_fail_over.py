"""Losing a node, or asking one to leave, costs a short pause and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from router_client.delivery import Deliveries
from router_client.errors import EventRouterError
from tests.cluster.site import client, get, nodes, shared_by
from tests.support.fault_proxy import FaultProxy
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(90)

LEASE_MS = 1500


@asynccontextmanager
async def consumed(node: NodeProcess) -> AsyncIterator[Deliveries]:
    async with client(node) as there, there.subscription("late").topics("a.>").open() as deliveries:
        yield deliveries


async def key_of(node: NodeProcess, owner: str) -> str:
    """Return a correlation id whose partition ``owner`` owns."""
    partitions = (await get(node, "/v1/partitions"))["partitions"]
    owned = {each["partition"] for each in partitions if each["owner"] == owner}
    async with client(node) as publisher:
        for n in range(1000):
            result = await publisher.publish("probe.key", {}, correlation_id=f"key-{n}")
            if result.partition in owned:
                return f"key-{n}"
    raise AssertionError(f"{owner} owns no partition")


async def first_after(node: NodeProcess, deliveries: Deliveries, key: str, since: float) -> float:
    """Publish an event for ``key`` until one is delivered; returns the seconds since ``since``."""
    async with client(node) as publisher, asyncio.TaskGroup() as tasks:

        async def publish() -> None:
            while True:
                await publisher.publish("a.b", {}, correlation_id=key)
                await asyncio.sleep(0.01)  # the pace of the load

        publishing = tasks.create_task(publish())
        async with asyncio.timeout(20):
            while True:
                delivery = await anext(deliveries)
                await delivery.ack()
                if delivery.event.correlation_id == key:
                    publishing.cancel()
                    return time.monotonic() - since


async def test_a_killed_node_is_replaced_within_the_lease_and_a_second(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, lease_ms=LEASE_MS) as (one, two, _), consumed(one) as deliveries:
        key = await key_of(one, "two")
        two.kill()
        took = await first_after(one, deliveries, key, time.monotonic())

    assert took <= LEASE_MS / 1000 + 1.0


async def test_a_node_that_is_asked_to_leave_is_replaced_at_once(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, lease_ms=60_000) as (one, two, _), consumed(one) as deliveries:
        key = await key_of(one, "two")
        async with asyncio.TaskGroup() as tasks:
            began = time.monotonic()
            ending = tasks.create_task(two.terminate())
            took = await first_after(one, deliveries, key, began)
        assert ending.result() == 0

    # 0.3 s is the target, measured by the benchmarks; the lease of a minute says that nothing was waited for here.
    assert took <= 5.0
    print(f"first delivery by the next owner {took * 1000:.0f} ms after SIGTERM")


async def test_a_paused_node_wakes_up_to_change_nothing(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, lease_ms=LEASE_MS) as (one, two, _), consumed(one) as deliveries:
        key = await key_of(one, "two")
        two.pause()
        await first_after(one, deliveries, key, time.monotonic())
        before = {each["partition"]: each["epoch"] for each in (await get(one, "/v1/partitions"))["partitions"]}
        two.resume()
        await wait_for(lambda: is_back(one, "two"), 10, "the node is a member again")
        after = {each["partition"]: each["epoch"] for each in (await get(one, "/v1/partitions"))["partitions"]}

    assert all(after[partition] >= epoch for partition, epoch in before.items())


async def is_back(node: NodeProcess, name: str) -> bool:
    listed = (await get(node, "/v1/nodes"))["nodes"]
    return any(each["node"] == name and each["state"] == "live" for each in listed)


async def test_a_node_that_lives_already_is_not_started_twice(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, 1, lease_ms=1000):
        twin = NodeProcess(redis_url=redis_url, database_url=database_url, node_id="one", ER_LEASE_MS="1000")
        twin.spawn()
        try:
            await wait_for(lambda: twin.process.exit_code is not None, 20, "the twin gives up")
            assert "a node named one lives already" in twin.tail()
            assert "Traceback" not in twin.tail()
        finally:
            twin.remove()


async def test_a_node_that_cannot_reach_redis_refuses_and_says_why(redis_url: str, database_url: str) -> None:
    host, port = redis_url.removeprefix("redis://").removesuffix("/0").split(":")
    async with FaultProxy(host, int(port)) as proxy:
        cut_url = f"redis://127.0.0.1:{proxy.port}/0"
        async with (
            nodes(redis_url, database_url, 2, lease_ms=1000),
            NodeProcess(redis_url=cut_url, database_url=database_url, node_id="cut", ER_LEASE_MS="1000") as cut,
        ):
            proxy.stall()
            async with client(cut) as publisher:

                async def refused() -> str:
                    try:
                        await publisher.publish("a.b", {})
                    except EventRouterError as error:
                        return str(error)
                    return ""

                async def says_why() -> bool:
                    return "no answer from Redis" in await refused()

                await wait_for(says_why, 20, "publishing is refused with the reason")
                began = time.monotonic()
                await refused()
                assert time.monotonic() - began < 2.0, "at once"


async def test_a_drained_node_owns_nothing_until_it_is_called_back(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, 2, lease_ms=1000) as (one, two), aiohttp.ClientSession() as session:
        async with session.post(f"{one.url}/v1/nodes/two/drain") as response:
            assert response.status == 202
        await shared_by(one, {"one"})
        async with session.get(f"{two.url}/readyz") as response:
            assert response.status == 503
        async with session.post(f"{two.url}/v1/nodes/one/drain") as response:
            assert response.status == 409
        async with session.delete(f"{one.url}/v1/nodes/two/drain") as response:
            assert response.status == 204
        await shared_by(one, {"one", "two"})
