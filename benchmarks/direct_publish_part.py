"""The publisher of ``benchmarks.direct_publish``: in batches of 100, or one event a call from 64 tasks at once."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator

from benchmarks.flights import first_events
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.errors import EventRouterError
from router_client.event import Event

BATCH, TASKS = 100, 64


async def in_batches(client: EventRouterClient, events: list[Event]) -> None:
    """Publish with several batches on the way."""
    async for outcome in client.publish_stream(events, batch=BATCH):
        if isinstance(outcome, EventRouterError):
            raise outcome


async def one_by_one(client: EventRouterClient, events: list[Event]) -> None:
    """Publish from many tasks, each of which waits for its answer."""

    async def publish(following: Iterator[Event]) -> None:
        for event in following:
            await client.publish_event(event)

    following = iter(events)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(TASKS):
            tasks.create_task(publish(following))


async def main() -> None:
    """Play the part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=("batches", "singles"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    chosen = parser.parse_args()
    events = first_events(chosen.count)
    async with EventRouterClient(chosen.url) as client:
        say(ready=True)
        await told()
        began = time.monotonic()
        await (in_batches if chosen.how == "batches" else one_by_one)(client, events)
        say(began=began, ended=time.monotonic())
        await told()


if __name__ == "__main__":
    asyncio.run(main())
