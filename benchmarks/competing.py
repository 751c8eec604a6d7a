"""One of several publishers, or one of several consumers that compete for one durable, ordered subscription."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks.event_router import CREDIT, SUBSCRIPTION, produce
from benchmarks.role import say, told
from router_client.client import EventRouterClient


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
        await produce(chosen.url, chosen.count, skip=chosen.skip)
    else:
        await consume(chosen.url)


if __name__ == "__main__":
    asyncio.run(main())
