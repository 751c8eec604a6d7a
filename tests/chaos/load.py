"""A publisher and a consumer that remember everything, and the checks that follow from it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import asyncpg
from redis.asyncio import Redis

from partitioning.keys import GROUP, Keys
from router_client import EventRouterClient, PublishResult
from router_client.errors import EventRouterError, Overloaded
from tests.support.signals import wait_for

SUBSCRIPTION = "checker"


class Load:
    """Publishes numbered events over many keys and priorities, and checks what arrives for a subscription."""

    def __init__(self, url: str, *, keys: int = 500) -> None:
        self._url = url.replace("http://", "ws://")
        self._keys = keys
        self._published = 0
        self._numbers: dict[tuple[str, int], int] = defaultdict(int)
        self.acknowledged: set[str] = set()
        self.delivered: dict[str, int] = defaultdict(int)
        self.violations: list[str] = []
        self.refused = 0
        self._last: dict[tuple[str, int], int] = {}
        self.ready = asyncio.Event()

    async def publish(self, count: int, *, batch: int = 500, pause_s: float = 0.0, until_taken: bool = False) -> None:
        """Publish ``count`` events, batch after batch; every one must be acknowledged in the end.

        ``until_taken``: an event refused as overloaded is published again, before anything newer.
        """
        first = self._published
        self._published += count
        async with EventRouterClient(self._url) as client:
            for start in range(first, first + count, batch):
                events = list(self._events(start, min(batch, first + count - start)))
                while events:
                    events = self._refused_of(events, await client.publish_many(events), until_taken)
                    if pause_s:
                        await asyncio.sleep(pause_s)

    def _refused_of(
        self, events: list[dict[str, object]], results: list[PublishResult | EventRouterError], until_taken: bool
    ) -> list[dict[str, object]]:
        again = []
        for event, result in zip(events, results, strict=True):
            if isinstance(result, PublishResult):
                self.acknowledged.add(result.id)
            else:
                assert until_taken, result
                assert isinstance(result, Overloaded), result
                self.refused += 1
                again.append(event)
        return again

    async def consume(self) -> None:
        """Take and acknowledge deliveries until cancelled, noting repeats and events out of order."""
        async with (
            EventRouterClient(self._url) as client,
            client.subscription(SUBSCRIPTION).topics("chaos.>").remember(0).credit(500).open() as deliveries,
        ):
            self.ready.set()
            async for delivery in deliveries:
                event = delivery.event
                if not self.delivered[event.id]:
                    key, number = (event.correlation_id, event.priority), event.payload["n"]
                    if number <= self._last.get(key, -1):
                        self.violations.append(f"{key}: {number} after {self._last[key]}")
                    self._last[key] = number
                self.delivered[event.id] += 1
                await delivery.ack()

    async def everything_delivered(self, timeout_s: float) -> None:
        """Wait until every acknowledged event was delivered at least once."""
        await wait_for(
            lambda: len(self.acknowledged - self.delivered.keys()) == 0, timeout_s, "all that was accepted is delivered"
        )

    @property
    def repeats(self) -> int:
        """Deliveries beyond the first of each event."""
        return sum(self.delivered.values()) - len(self.delivered)

    def _events(self, start: int, count: int) -> Iterator[dict[str, object]]:
        for index in range(start, start + count):
            key, priority = f"key-{index * 7919 % self._keys}", 5 if index % 10 else 8
            number = self._numbers[key, priority]
            self._numbers[key, priority] += 1
            yield {
                "type": f"chaos.load.{index % 16}",
                "id": f"event-{index}",
                "correlation_id": key,
                "priority": priority,
                "payload": {"n": number, "index": index, "text": "x" * 200},
            }


async def stored_ids(database_url: str) -> set[str]:
    """Return the id of every stored event."""
    connection = await asyncpg.connect(database_url)
    try:
        return {row["id"] for row in await connection.fetch("SELECT id FROM events WHERE type LIKE 'chaos.%'")}
    finally:
        await connection.close()


async def left_in_redis(redis_url: str, partitions: int, cluster: str = "default") -> dict[str, int]:
    """Return what is not settled: entries in ingest streams, pending or not, and events in lanes' queues."""
    redis, keys = Redis.from_url(redis_url), Keys(cluster)
    left: dict[str, int] = defaultdict(int)
    try:
        for partition in range(partitions):
            for priority in range(10):
                stream = keys.ingest(partition, priority)
                left["entries"] += await redis.xlen(stream)
                if await redis.exists(stream):
                    left["pending"] += (await redis.xpending(stream, GROUP))["pending"]
            left["lanes"] += await redis.scard(keys.lanes(partition))
    finally:
        await redis.aclose()
    return {what: count for what, count in left.items() if count}


async def nothing_left(redis_url: str, partitions: int, timeout_s: float) -> None:
    """Wait until Redis holds nothing unsettled."""
    left: dict[str, int] = {}

    async def empty() -> bool:
        nonlocal left
        left = await left_in_redis(redis_url, partitions)
        return not left

    try:
        await wait_for(empty, timeout_s, "nothing is left unsettled in Redis")
    except AssertionError as failure:
        raise AssertionError(f"{failure}: {left}") from None
