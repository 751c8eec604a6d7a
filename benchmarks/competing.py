"""One of several publishers, or one of several consumers that compete for one durable, ordered subscription."""

from __future__ import annotations

import argparse
import asyncio
import time

from benchmarks.flights import first_events
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.errors import EventRouterError

SUBSCRIPTION, BATCH, CREDIT = "bench", 100, 1000


async def produce(url: str, skip: int, count: int) -> None:
    """Publish ``count`` events, all but the first ``skip``, and wait for every answer."""
    events = first_events(skip + count)[skip:]
    async with EventRouterClient(url) as client:
        say(ready=True)
        await told()
        began = time.monotonic()
        async for outcome in client.publish_stream(events, batch=BATCH):
            if isinstance(outcome, EventRouterError):
                raise outcome
        say(began=began, ended=time.monotonic())
        await told()


async def consume(url: str) -> None:
    """Take and ack events until told to stop."""
    seen: set[str] = set()

    async def take() -> None:
        async with EventRouterClient(url) as client:
            # The subscription's own bound is for all consumers together.
            flights = client.subscription(SUBSCRIPTION).topics("flights.>").max_in_flight(CREDIT).credit(CREDIT)
            async with flights.open() as deliveries:
                say(ready=True)
                async for delivery in deliveries:
                    seen.add(delivery.object["id"])
                    await delivery.ack()

    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(take())
        await told()
        taking.cancel()
    say(delivered=len(seen))
    await told()


async def main() -> None:
    """Play one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("produce", "consume"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.part == "produce":
        await produce(chosen.url, chosen.skip, chosen.count)
    else:
        await consume(chosen.url)


if __name__ == "__main__":
    asyncio.run(main())
