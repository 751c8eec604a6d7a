"""The router through its SDK over WebSocket: a publisher in batches of 100, and a consumer that acks each event."""

from __future__ import annotations

import argparse
import asyncio
import time

from benchmarks.flights import first_events
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.errors import EventRouterError

SUBSCRIPTION, BATCH, CREDIT = "bench", 100, 1000


async def produce(url: str, count: int, *, skip: int = 0) -> None:
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
    chosen = parser.parse_args()
    await (produce if chosen.part == "produce" else consume)(chosen.url, chosen.count)


if __name__ == "__main__":
    asyncio.run(main())
