"""The publisher and the consumer of ``benchmarks.backlog``, each a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import time

from benchmarks.event_router import BATCH, CREDIT, SUBSCRIPTION
from benchmarks.numbered import Received, numbered_events
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.errors import EventRouterError

BUILT_BEFORE = 100_000


async def produce(url: str, skip: int, count: int) -> None:
    """Publish the events ``skip`` to ``skip + count``; a number that memory holds is built before the clock starts."""
    events = numbered_events(count, skip=skip)
    async with EventRouterClient(url) as client:
        ready = list(events) if count <= BUILT_BEFORE else events
        say(ready=True)
        await told()
        began = time.monotonic()
        async for outcome in client.publish_stream(ready, batch=BATCH):
            if isinstance(outcome, EventRouterError):
                raise outcome
        say(began=began, ended=time.monotonic())
        await told()


async def consume(url: str, skip: int, count: int) -> None:
    """Take and ack ``count`` events of the subscription, and check them."""
    received = Received(skip + count)
    async with EventRouterClient(url) as client:
        say(ready=True)
        await told()
        flights = client.subscription(SUBSCRIPTION).topics("flights.>").max_in_flight(CREDIT).credit(CREDIT)
        began = time.monotonic()
        async with flights.open() as deliveries:
            say(began=began)
            async for delivery in deliveries:
                received.take(delivery.object)
                await delivery.ack()
                if received.count == count:
                    break
            ended = time.monotonic()
            received.check(count, "the consumer")
            say(ended=ended, repeated=received.repeated)
            await told()


async def main() -> None:
    """Play one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("produce", "consume"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--skip", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    chosen = parser.parse_args()
    await (produce if chosen.part == "produce" else consume)(chosen.url, chosen.skip, chosen.count)


if __name__ == "__main__":
    asyncio.run(main())
