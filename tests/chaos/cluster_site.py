"""A site: three router nodes as processes behind a load balancer, on real Redis and real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError  # noqa: A004 - redis-py's own, which is what it retries on

from tests.chaos.aftermath import Connection, tokens
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

    async def whole(self, timeout_s: float = 20.0) -> None:
        """Wait until the balancer has found every node ready, and each owns its share of the partitions."""
        await wait_for(self._is_whole, timeout_s, "every node is ready and owns its share of the partitions")

    async def _is_whole(self) -> bool:
        if len(self.balancer.ready) < len(self.nodes):
            return False
        owned = Counter(token.partition(" ")[0] for token in (await tokens(self.redis, PARTITIONS)).values())
        return len(owned) == len(self.nodes) and min(owned.values()) >= PARTITIONS // len(self.nodes)


@asynccontextmanager
async def nodes_on(
    redis_url: str,
    redis: Connection,
    *,
    nodes: int = NODES,
    special: Mapping[int, Mapping[str, str]] | None = None,
    **settings: str,
) -> AsyncIterator[Site]:
    """Run nodes on PostgreSQL of their own and the Redis at ``redis_url``; ready when this enters.

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
        running = []
        for number in range(nodes):
            own = {**defaults, **settings, **(special or {}).get(number, {})}
            node = NodeProcess(
                redis_url=own.pop("ER_REDIS_URL"), database_url=database_url, node_id=f"node-{number}", **own
            )
            stack.callback(node.remove)
            running.append(node)
        for node in running:
            node.spawn()
        async with asyncio.TaskGroup() as starting:
            for node in running:
                starting.create_task(node.ready())
        balancer = await stack.enter_async_context(Balancer([node.port for node in running]))
        site = Site(running, balancer, postgres, database_url, redis)
        try:
            await site.whole()
            yield site
        except BaseException:
            for number, node in enumerate(running):
                print(f"--- end of the output of node-{number}\n{node.tail(25)}")
            raise


@asynccontextmanager
async def one_redis(
    *, nodes: int = NODES, special: Mapping[int, Mapping[str, str]] | None = None, **settings: str
) -> AsyncIterator[tuple[Site, RedisServer]]:
    """Run nodes on a single Redis with an append-only file; see :func:`nodes_on`."""
    with RedisServer().start(appendonly=True) as server:
        async with (
            looking_into(server.url) as redis,
            nodes_on(server.url, redis, nodes=nodes, special=special, **settings) as site,
        ):
            yield site, server


def looking_into(redis_url: str) -> Redis:
    """Return a connection for the test's own questions, which outlives restarts of the server."""
    return Redis.from_url(redis_url, retry=Retry(ConstantBackoff(0.05), 40), retry_on_error=[ConnectionError])


def clock_off_by(seconds: int) -> dict[str, str]:
    """Return what to tell a node so that its wall clock is off."""
    return {"PYTHONPATH": str(_CLOCK_SHIFT), "ER_TEST_CLOCK_SHIFT_S": str(seconds)}
