"""Three nodes of one cluster, each a process, and what tests ask of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from router_client import EventRouterClient
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for


@asynccontextmanager
async def nodes(
    redis_url: str, database_url: str, count: int = 3, *, partitions: int = 12, lease_ms: int = 1500, **settings: str
) -> AsyncIterator[list[NodeProcess]]:
    """Run ``count`` nodes, named one, two, three..., and wait until each owns its share."""
    names = ["one", "two", "three", "four", "five"][:count]
    running = [
        NodeProcess(
            redis_url=redis_url,
            database_url=database_url,
            node_id=name,
            ER_PARTITIONS=str(partitions),
            ER_LEASE_MS=str(lease_ms),
            **settings,
        )
        for name in names
    ]
    try:
        for node in running:
            node.spawn()
        await asyncio.gather(*(node.ready() for node in running))
        await shared_by(running[0], set(names))
        yield running
    finally:
        for node in running:
            node.remove()


async def get(node: NodeProcess, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}{path}") as response:
        return await response.json()


async def owners(node: NodeProcess) -> Counter[str | None]:
    """Return how many partitions each node owns, as ``node`` sees it."""
    return Counter(each["owner"] for each in (await get(node, "/v1/partitions"))["partitions"])


async def shared_by(node: NodeProcess, names: set[str], within_s: float = 10.0) -> None:
    """Wait until exactly these nodes own the partitions, each as many as any other or one more."""

    async def shared() -> bool:
        counts = await owners(node)
        return counts.keys() == names and max(counts.values()) - min(counts.values()) <= 1

    await wait_for(shared, within_s, f"the partitions are shared by {sorted(names)}")


def client(node: NodeProcess) -> EventRouterClient:
    return EventRouterClient(node.url.replace("http", "ws"))


async def metric(node: NodeProcess, name: str) -> float:
    """Return a metric without labels; ``_total`` of a counter's name may be left out. Fails when there is none."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    (line,) = (line for line in lines if line.startswith((f"{name} ", f"{name}_total ")))
    return float(line.split()[1])
