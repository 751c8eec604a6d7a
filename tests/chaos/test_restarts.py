"""Each transport of the SDK, while what it talks to is stopped and started ten times under load.

A transport is one entry of SITES: what gives it a URL, and how that is stopped and started. ``memory://`` has none: its
router lives in the client's process and ends with it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from router_client import Backoff, ClientOptions, Deliveries, EventRouterClient, PublishResult
from tests.chaos.conftest import Note
from tests.support.node_process import NodeProcess
from tests.support.redis_server import RedisServer

ROUNDS = 10
DOWN_S = 0.2
BATCH = 20
PAUSE_S = 0.08
RESUMED_WITHIN_S = 20.0

pytestmark = pytest.mark.timeout(180)

OPTIONS = ClientOptions(backoff=Backoff(base_s=0.05, max_s=0.3), connect_timeout_s=2.0)


class Site(NamedTuple):
    """Where a client goes, and how that is stopped and started; ``start`` returns when it works again."""

    url: str
    stop: Callable[[], Awaitable[object]]
    start: Callable[[], Awaitable[object]]


@asynccontextmanager
async def on_redis(folder: Path) -> AsyncIterator[tuple[RedisServer, NodeProcess]]:
    """Run a node on a Redis that keeps what it has confirmed."""
    with RedisServer().start(appendonly=True, extra=["--appendfsync", "always"]) as redis:
        settings = {"ER_PARTITIONS": "8", "ER_LEASE_MS": "500"}
        database = f"sqlite:///{folder}/events.sqlite"
        async with NodeProcess(redis_url=redis.url, database_url=database, node_id="one", **settings) as node:
            yield redis, node


@asynccontextmanager
async def node_goes(folder: Path, *, scheme: str) -> AsyncIterator[Site]:
    """The node is killed and, every other time, asked to stop."""
    async with on_redis(folder) as (redis, node):
        kindly = itertools.cycle([False, True])

        async def stop() -> None:
            if next(kindly):
                await node.terminate()
            else:
                node.kill()

        yield Site(redis.url if scheme == "redis" else f"{scheme}://127.0.0.1:{node.port}", stop, node.start)


@asynccontextmanager
async def redis_goes(folder: Path) -> AsyncIterator[Site]:
    """Redis is killed; its append-only file has what it confirmed."""
    async with on_redis(folder) as (redis, node):

        async def start() -> None:
            await asyncio.to_thread(redis.start)
            await node.ready()

        yield Site(redis.url, lambda: asyncio.to_thread(redis.kill), start)


SITES: dict[str, Callable[[Path], AbstractAsyncContextManager[Site]]] = {
    "ws, the node goes": partial(node_goes, scheme="ws"),
    "http, the node goes": partial(node_goes, scheme="http"),
    "redis, the node goes": partial(node_goes, scheme="redis"),
    "redis, Redis goes": redis_goes,
}


QUICK = {"redis, Redis goes"}


class Traffic:
    """Publishers and one consumer, and what they have seen."""

    def __init__(self, publisher: EventRouterClient, deliveries: Deliveries) -> None:
        self.acknowledged: set[str] = set()
        self.seen: set[str] = set()
        self._publisher = publisher
        self._deliveries = deliveries
        self._numbers = itertools.count()
        self._arrived = asyncio.Event()

    async def publish(self) -> None:
        """Publish without an end."""
        while True:
            await self._publish_batch()

    async def consume(self) -> None:
        """Acknowledge without an end."""
        async for delivery in self._deliveries:
            await delivery.ack()
            self.seen.add(delivery.event.id)
            self._arrived.set()

    async def resumed(self) -> None:
        """Return when something is delivered that is published from now on, by whoever had to wait."""
        since = next(self._numbers)
        while not any(int(event_id) > since for event_id in self.seen):
            self._arrived.clear()
            await self._arrived.wait()

    async def all_seen(self) -> None:
        """Return when nothing that was acknowledged is missing."""
        while not self.acknowledged <= self.seen:
            self._arrived.clear()
            await self._arrived.wait()

    async def _publish_batch(self) -> None:
        events = [{"type": "a.b", "id": f"{n}", "correlation_id": f"k{n % 7}"} for n in self._next_numbers()]
        for outcome in await self._publisher.publish_many(events):
            if isinstance(outcome, PublishResult):
                self.acknowledged.add(outcome.id)
        await asyncio.sleep(PAUSE_S)

    def _next_numbers(self) -> list[int]:
        return [next(self._numbers) for _ in range(BATCH)]


@pytest.mark.parametrize("site", [pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in SITES])
async def test_ten_restarts_under_load_lose_nothing_and_every_subscription_resumes(
    site: str, tmp_path: Path, note: Note
) -> None:
    began, resumed = time.monotonic(), 0
    async with (
        SITES[site](tmp_path) as there,
        EventRouterClient(there.url, options=OPTIONS) as publisher,
        EventRouterClient(there.url, options=OPTIONS) as consumer,
        consumer.subscription("s").topics("a.*").ack_timeout(2).remember(1_000_000, seconds=600).open() as deliveries,
    ):
        traffic = Traffic(publisher, deliveries)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in (traffic.publish(), traffic.publish(), traffic.consume())]
            for _ in range(ROUNDS):
                await there.stop()
                await asyncio.sleep(DOWN_S)
                await there.start()
                async with asyncio.timeout(RESUMED_WITHIN_S):
                    await traffic.resumed()
                resumed += 1
            for publishing in running[:2]:
                publishing.cancel()
            async with asyncio.timeout(RESUMED_WITHIN_S):
                await traffic.all_seen()
            running[2].cancel()
        note("acknowledged", len(traffic.acknowledged))
        note("acknowledged and lost", len(traffic.acknowledged - traffic.seen))
        note("subscriptions resumed", f"{resumed} of {ROUNDS}")
        note("repeats", deliveries.duplicates)
        note("took", f"{time.monotonic() - began:.1f} s")
    assert len(traffic.acknowledged) > ROUNDS * BATCH
    assert traffic.acknowledged <= traffic.seen
    assert resumed == ROUNDS
