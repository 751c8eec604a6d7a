"""Publisher and consumer of ``benchmarks.cluster_latency``, through the router and through the loop written by hand."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import orjson
from redis.asyncio import Redis

from benchmarks.event_router import SUBSCRIPTION
from benchmarks.latencies import Latencies, at_rate
from benchmarks.numbered import Received, numbered_events
from benchmarks.role import say, told
from partitioning.slots import slot_table
from router_client.client import EventRouterClient
from router_client.event import Event

STREAM, GROUP, READ, BLOCK_MS = "latency", "loop", 100, 1000


def stamped(event: Event) -> Event:
    """Return the event with the time at which it is published, by the clock all processes of a machine share."""
    return replace(event, metadata={**event.metadata, "at": time.monotonic()})


class Arrivals:
    """What a consumer got, and the latencies of the events that count.

    Those are of the partitions ``counted`` (all when there are none), without the ``warm`` first events.
    """

    def __init__(self, skip: int, count: int, warm: int, partitions: int, counted: Collection[int]) -> None:
        self._received = Received(skip + count)
        self._count = count
        self._from = skip + warm
        self._table = slot_table(partitions)
        self._counted = frozenset(counted)
        self._seconds: list[float] = []
        self._timed = 0

    @property
    def complete(self) -> bool:
        """Every event came."""
        return self._received.count == self._count

    def take(self, event: Mapping[str, Any], now: float) -> None:
        """Note an event object that came at ``now``."""
        metadata = event["metadata"]
        if self._received.take(event) and metadata["n"] >= self._from:
            self._timed += 1
            if not self._counted or self._table.partition_of(event["correlation_id"]) in self._counted:
                self._seconds.append(now - metadata["at"])

    def result(self) -> dict[str, float]:
        """Check that all came in order; return the latencies and the share of the events that they are of."""
        self._received.check(self._count, "the consumer")
        return {**Latencies.of(self._seconds)._asdict(), "share": len(self._seconds) / self._timed}


async def produce(chosen: argparse.Namespace, publish: Callable[[Event], Awaitable[object]]) -> None:
    """Publish every event at the rate, each by a call of its own."""
    events = list(numbered_events(chosen.count, skip=chosen.skip))
    gc.freeze()
    say(ready=True)
    await told()
    say(rate=await at_rate(publish, events, chosen.rate))
    await told()


async def router_produce(chosen: argparse.Namespace) -> None:
    """Publish through the SDK."""
    async with EventRouterClient(chosen.url) as client:
        await produce(chosen, lambda event: client.publish_event(stamped(event)))


async def router_consume(chosen: argparse.Namespace, arrivals: Arrivals) -> None:
    """Consume through the SDK, acking each event."""
    async with (
        EventRouterClient(chosen.url) as client,
        client.subscription(SUBSCRIPTION).topics("flights.>").open() as deliveries,
    ):
        gc.freeze()
        say(ready=True)
        async for delivery in deliveries:
            arrivals.take(delivery.object, time.monotonic())
            await delivery.ack()
            if arrivals.complete:
                break
        say(**arrivals.result())
        await told()


async def loop_produce(chosen: argparse.Namespace) -> None:
    """XADD each event."""
    async with Redis.from_url(chosen.url) as redis:
        await produce(chosen, lambda event: redis.xadd(STREAM, {b"e": stamped(event).encode()}))


async def loop_consume(chosen: argparse.Namespace, arrivals: Arrivals) -> None:
    """XREADGROUP with BLOCK, and one XACK for what came."""
    async with Redis.from_url(chosen.url) as redis:
        await redis.delete(STREAM)
        await redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
        gc.freeze()
        say(ready=True)
        while not arrivals.complete:
            found: Any = await redis.xreadgroup(GROUP, "one", {STREAM: ">"}, count=READ, block=BLOCK_MS)
            for _, entries in found:
                for _, fields in entries:
                    arrivals.take(orjson.loads(fields[b"e"]), time.monotonic())
                await redis.xack(STREAM, GROUP, *(entry_id for entry_id, _ in entries))
        say(**arrivals.result())
        await told()


async def main() -> None:
    """Play one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("router_produce", "router_consume", "loop_produce", "loop_consume"))
    parser.add_argument("--url", required=True)
    for name in ("skip", "count", "rate", "warm", "partitions"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--counted", type=int, nargs="*", default=[], help="partitions whose events count")
    chosen = parser.parse_args()
    if chosen.part.endswith("produce"):
        await (router_produce if chosen.part == "router_produce" else loop_produce)(chosen)
    else:
        arrivals = Arrivals(chosen.skip, chosen.count, chosen.warm, chosen.partitions, chosen.counted)
        await (router_consume if chosen.part == "router_consume" else loop_consume)(chosen, arrivals)


if __name__ == "__main__":
    asyncio.run(main())
