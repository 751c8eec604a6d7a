"""A site: three router nodes as processes behind a load balancer, on real Redis and real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from tests.chaos.aftermath import Connection
from tests.support.balancer import Balancer
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

NODES = 3
PARTITIONS = 16
LEASE_MS = 1000
_CLOCK_SHIFT = Path(__file__).parents[1] / "support" / "clock_shift"


@dataclass
class Site:
    """The nodes, called node-0 to node-2, what they stand on, and a connection to look into Redis."""

    nodes: list[NodeProcess]
    balancer: Balancer
    postgres: PostgresServer
    database_url: str
    redis: Connection

    async def all_ready(self, timeout_s: float = 20.0) -> None:
        """Wait until the balancer has found every node ready."""
        await wait_for(lambda: len(self.balancer.ready) == len(self.nodes), timeout_s, "every node is ready")


@asynccontextmanager
async def nodes_on(
    redis_url: str, redis: Connection, *, special: Mapping[int, Mapping[str, str]] | None = None, **settings: str
) -> AsyncIterator[Site]:
    """Run three nodes on PostgreSQL of their own and the Redis at ``redis_url``; ready when this enters.

    ``special`` holds variables of the environment for single nodes, by number, that come before ``settings``.
    """
    defaults = {
        "ER_PARTITIONS": str(PARTITIONS),
        "ER_LEASE_MS": str(LEASE_MS),
        "ER_DEDUP_WINDOW_S": "600",
        "ER_REDIS_URL": redis_url,
    }
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        database_url = await postgres.create_database()
        nodes = []
        for number in range(NODES):
            own = {**defaults, **settings, **(special or {}).get(number, {})}
            node = NodeProcess(
                redis_url=own.pop("ER_REDIS_URL"), database_url=database_url, node_id=f"node-{number}", **own
            )
            stack.callback(node.remove)
            nodes.append(node)
        for node in nodes:
            node.spawn()
        async with asyncio.TaskGroup() as starting:
            for node in nodes:
                starting.create_task(node.ready())
        balancer = await stack.enter_async_context(Balancer([node.port for node in nodes]))
        site = Site(nodes, balancer, postgres, database_url, redis)
        await site.all_ready()
        yield site


@asynccontextmanager
async def one_redis(
    *, special: Mapping[int, Mapping[str, str]] | None = None, **settings: str
) -> AsyncIterator[tuple[Site, RedisServer]]:
    """Run three nodes on a single Redis with an append-only file; see :func:`nodes_on`."""
    with RedisServer().start(appendonly=True) as server:
        async with (
            Redis.from_url(server.url) as redis,
            nodes_on(server.url, redis, special=special, **settings) as site,
        ):
            yield site, server


def clock_off_by(seconds: int) -> dict[str, str]:
    """Return what to tell a node so that its wall clock is off."""
    return {"PYTHONPATH": str(_CLOCK_SHIFT), "ER_TEST_CLOCK_SHIFT_S": str(seconds)}
