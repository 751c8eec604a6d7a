"""The router through its SDK over WebSocket: a publisher in batches of 100, and a consumer that acks each event."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

from benchmarks.flights import first_events, with_priorities
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.errors import EventRouterError
from router_client.event import Event

SUBSCRIPTION, BATCH, CREDIT = "bench", 100, 1000
Prepare = Callable[[list[Event]], list[Event]]


async def produce(url: str, count: int, *, skip: int = 0, prepare: Prepare = list) -> None:
    """Publish ``count`` events after the first ``skip``, as ``prepare`` makes them, and wait for every answer."""
    events = prepare(first_events(skip + count)[skip:])
    async with EventRouterClient(url) as client:
        say(ready=True)
        await told()
        began = time.monotonic()
        async for outcome in client.publish_stream(events, batch=BATCH):
            if isinstance(outcome, EventRouterError):
                raise outcome
        say(began=began, ended=time.monotonic())
        await told()


async def consume(url: str, count: int) -> None:
    """Take and ack ``count`` events of one durable, ordered subscription."""
    async with EventRouterClient(url) as client:
        flights = client.subscription(SUBSCRIPTION).topics("flights.>").max_in_flight(CREDIT).credit(CREDIT)
        async with flights.open() as deliveries:
            say(ready=True)
            seen: set[str] = set()
            async for delivery in deliveries:
                seen.add(delivery.object["id"])
                await delivery.ack()
                if len(seen) == count:
                    break
            say(ended=time.monotonic(), delivered=len(seen))
            await told()


async def main() -> None:
    """Play one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("produce", "consume"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--priorities", action="store_true", help="give the events all ten priorities in turn")
    chosen = parser.parse_args()
    if chosen.part == "consume":
        await consume(chosen.url, chosen.count)
    else:
        await produce(chosen.url, chosen.count, prepare=with_priorities if chosen.priorities else list)


if __name__ == "__main__":
    asyncio.run(main())
