"""The publisher and all consumers of ``benchmarks.stalled``, one process: latencies are read off one clock."""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import islice

from benchmarks.event_router import BATCH
from benchmarks.latencies import Latencies, at_rate
from benchmarks.numbered import Received, numbered_events
from benchmarks.role import say, told
from router_client.client import EventRouterClient
from router_client.delivery import Deliveries
from router_client.errors import EventRouterError
from router_client.event import Event

CONNECTIONS, AT_ONCE = 10, 20
CAPACITY_EVENTS = 20_000
COMPLETE_WITHIN_S = 300.0
STALLED = 0


def spread(events: Sequence[Event], subscriptions: int, each: int) -> list[list[str]]:
    """Return the topics of each subscription: every topic goes to ``each`` of them, the busiest to the least busy."""
    load = [(0, number) for number in range(subscriptions)]
    topics: list[list[str]] = [[] for _ in range(subscriptions)]
    for topic, count in sorted(
        Counter(event.type for event in events).items(), key=lambda found: (-found[1], found[0])
    ):
        for busy, number in [heapq.heappop(load) for _ in range(each)]:
            topics[number].append(topic)
            heapq.heappush(load, (busy + count, number))
    return topics


class Subscriber:
    """One subscription, with what it got of the phase under way."""

    def __init__(self, number: int, topics: Sequence[str], events: int) -> None:
        self.name = f"bench-{number}"
        self.topics = topics
        self.received = Received(events)
        self.awake = asyncio.Event()
        self.awake.set()
        self.latencies: list[float] = []
        self.expected = self.repeated = 0

    async def consume(self, deliveries: Deliveries, sent_at: Sequence[float]) -> None:
        """Handle deliveries until cancelled; while not awake, hold on to them."""
        async for delivery in deliveries:
            self.repeated = deliveries.duplicates
            if not self.awake.is_set():
                await self.awake.wait()
            now = time.monotonic()
            if self.received.take(delivery.object):
                self.latencies.append(now - sent_at[delivery.object["metadata"]["n"]])
            await delivery.ack()

    async def complete(self) -> None:
        """Wait until everything expected came."""
        while self.received.count < self.expected:
            await asyncio.sleep(0.005)


class Load:
    """The events of all phases, and the subscribers."""

    def __init__(self, client: EventRouterClient, subscribers: Sequence[Subscriber], events: list[Event]) -> None:
        self._client = client
        self._subscribers = subscribers
        self._events = iter(events)
        self.sent_at = [0.0] * len(events)

    async def capacity(self) -> dict[str, float]:
        """Publish as fast as it goes; returns the deliveries per second."""
        events = self._next(CAPACITY_EVENTS)
        began = time.monotonic()
        self._note(events)
        async for outcome in self._client.publish_stream(events, batch=BATCH):
            if isinstance(outcome, EventRouterError):
                raise outcome
        await self._all_complete(self._subscribers)
        took_s = time.monotonic() - began
        return self._result(took_s, len(events) / took_s)

    async def steady(self, rate: int, seconds: float, *, stall: bool) -> dict[str, float]:
        """Publish at a rate, with one subscriber asleep meanwhile or with none; then wait for everything."""
        stalled, others = self._subscribers[STALLED], [s for n, s in enumerate(self._subscribers) if n != STALLED]
        if stall:
            stalled.awake.clear()
        began = time.monotonic()
        lots = [self._next(AT_ONCE) for _ in range(round(rate * seconds / AT_ONCE))]
        reached = AT_ONCE * await at_rate(self._publish, lots, rate / AT_ONCE)
        await self._all_complete(others)
        held, woke = stalled.expected - stalled.received.count, time.monotonic()
        stalled.awake.set()
        await self._all_complete([stalled])
        ended = time.monotonic()
        return self._result(ended - began, reached, held, ended - woke)

    async def _publish(self, events: list[Event]) -> None:
        self._note(events)
        for outcome in await self._client.publish_many(events, batch=AT_ONCE):
            if isinstance(outcome, EventRouterError):
                raise outcome

    def _next(self, count: int) -> list[Event]:
        events = list(islice(self._events, count))
        topics = Counter(event.type for event in events)
        for subscriber in self._subscribers:
            subscriber.expected += sum(topics[topic] for topic in subscriber.topics)
        return events

    def _note(self, events: Sequence[Event]) -> None:
        now = time.monotonic()
        for event in events:
            self.sent_at[event.metadata["n"]] = now

    async def _all_complete(self, subscribers: Sequence[Subscriber]) -> None:
        async with asyncio.timeout(COMPLETE_WITHIN_S):
            for subscriber in subscribers:
                await subscriber.complete()

    def _result(self, took_s: float, rate: float, held: int = 0, caught_up_s: float = 0.0) -> dict[str, float]:
        """Check what every subscriber got so far, and summarise the latencies of all but the one that may stall."""
        latencies: list[float] = []
        deliveries = 0
        for number, subscriber in enumerate(self._subscribers):
            subscriber.received.check(subscriber.expected, subscriber.name)
            deliveries += len(subscriber.latencies)
            if number != STALLED:
                latencies += subscriber.latencies
            subscriber.latencies.clear()
        repeated = sum(subscriber.repeated + subscriber.received.repeated for subscriber in self._subscribers)
        return {
            **Latencies.of(latencies)._asdict(),
            "took_s": took_s,
            "events_per_s": rate,
            "deliveries_per_s": deliveries / took_s,
            "repeated": repeated,
            "held": held,
            "caught_up_s": caught_up_s,
        }


async def run(chosen: argparse.Namespace) -> None:
    """Open every subscription, then play one phase whenever told."""
    events = list(numbered_events(CAPACITY_EVENTS + round(2 * chosen.rounds * chosen.rate * chosen.seconds)))
    topics = spread(events, chosen.subscriptions, chosen.matches)
    subscribers = [Subscriber(number, of, len(events)) for number, of in enumerate(topics)]
    gc.freeze()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(EventRouterClient(chosen.url)) for _ in range(CONNECTIONS + 1)]
        load = Load(clients.pop(), subscribers, events)
        consuming = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        for number, subscriber in enumerate(subscribers):
            builder = clients[number % CONNECTIONS].subscription(subscriber.name).topics(*subscriber.topics)
            deliveries = await stack.enter_async_context(builder.open())
            tasks.append(consuming.create_task(subscriber.consume(deliveries, load.sent_at)))
        say(ready=True)
        await told()
        say(**await load.capacity())
        for _ in range(chosen.rounds):
            for stall in (False, True):
                await told()
                say(**await load.steady(chosen.rate, chosen.seconds, stall=stall))
        await told()
        for task in tasks:
            task.cancel()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    for name in ("subscriptions", "matches", "rate", "rounds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
