"""The publisher and all consumers of ``benchmarks.fan_out``, one process: every subscription gets every event."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.event_router import BATCH
from benchmarks.flights import first_events
from benchmarks.latencies import Latencies
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.delivery import Deliveries
from router_client.errors import EventRouterError
from router_client.event import Event
from router_client.subscription import SubscriptionBuilder

CREDIT, WITHIN_S = 100, 120.0
DURABLE, EPHEMERAL = "durable", "ephemeral"


class Everybody:
    """Counts what all subscriptions got. An event that comes again to the same one is not counted again."""

    def __init__(self, subscriptions: int) -> None:
        self._subscriptions = subscriptions
        self._wanted = self._got = 0
        self._all_got = asyncio.Event()

    async def consume(self, deliveries: Deliveries) -> None:
        """Ack and count deliveries of one subscription, until cancelled."""
        seen: set[str] = set()
        async for delivery in deliveries:
            await delivery.ack()
            event_id = delivery.object["id"]
            if event_id in seen:
                continue
            seen.add(event_id)
            self._got += 1
            if self._got == self._wanted:
                self._all_got.set()

    def expect(self, events: int) -> None:
        """Say that so many events more are about to be published."""
        self._wanted += events * self._subscriptions
        self._all_got.clear()

    async def got_all(self) -> None:
        """Wait until everybody has all that was expected. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN_S):
            await self._all_got.wait()


async def one_by_one(client: EventRouterClient, everybody: Everybody, events: Sequence[Event]) -> list[float]:
    """Publish an event whenever everybody has the one before; returns the seconds until the last had each."""
    took = []
    for event in events:
        everybody.expect(1)
        began = time.monotonic()
        await client.publish_event(event)
        await everybody.got_all()
        took.append(time.monotonic() - began)
    return took


async def all_at_once(client: EventRouterClient, everybody: Everybody, events: Sequence[Event]) -> float:
    """Publish as fast as it goes; returns the seconds until everybody had everything."""
    everybody.expect(len(events))
    began = time.monotonic()
    async for outcome in client.publish_stream(events, batch=BATCH):
        if isinstance(outcome, EventRouterError):
            raise outcome
    await everybody.got_all()
    return time.monotonic() - began


@asynccontextmanager
async def consumers(chosen: argparse.Namespace, everybody: Everybody) -> AsyncIterator[None]:
    """Open all subscriptions, spread over the connections, and consume them."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        clients = [await stack.enter_async_context(EventRouterClient(chosen.url)) for _ in range(chosen.connections)]
        consuming = []
        for number in range(chosen.subscriptions):
            subscription = _subscription(clients[number % chosen.connections], number, chosen.kind)
            deliveries = await stack.enter_async_context(subscription.open())
            consuming.append(tasks.create_task(everybody.consume(deliveries)))
        yield
        for task in consuming:
            task.cancel()


def _subscription(client: EventRouterClient, number: int, kind: str) -> SubscriptionBuilder:
    flights = client.subscription(f"bench-{number}").topics("flights.>").max_in_flight(CREDIT).credit(CREDIT)
    return flights if kind == DURABLE else flights.ephemeral()


async def run(chosen: argparse.Namespace) -> None:
    """Open everything, then play both phases when told."""
    events = first_events(chosen.alone + chosen.events)
    everybody = Everybody(chosen.subscriptions)
    async with EventRouterClient(chosen.url) as publisher, consumers(chosen, everybody):
        say(ready=True)
        await told()
        alone = await one_by_one(publisher, everybody, events[: chosen.alone])
        say(**Latencies.of(alone)._asdict())
        await told()
        say(took_s=await all_at_once(publisher, everybody, events[chosen.alone :]))
        await told()


def main() -> None:
    """Play the part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--subscriptions", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--kind", choices=(DURABLE, EPHEMERAL), required=True)
    parser.add_argument("--alone", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
