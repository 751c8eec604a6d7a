"""Publishers and consumers that never give up, on top of the SDK, and the checker that watches them."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from partitioning.slots import slot_table
from router_client import EventRouterClient, PublishResult, SubscriptionBuilder
from router_client.errors import EventRouterError, InvalidInput
from router_client.options import ClientOptions
from router_client.reconnect import Backoff
from tests.chaos.checker import Checker
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

SHARED, SOLO = "shared", "solo"
ORDERING: dict[str, Literal["key", "strict"]] = {SHARED: "key", SOLO: "strict"}
CREDIT, IN_FLIGHT = 200, 600
ACK_TIMEOUT_S = 3.0
AGAIN_S = 0.05
PATIENT = ClientOptions(
    connect_timeout_s=2.0,
    publish_timeout_s=5.0,
    ping_interval_s=1.0,
    ping_timeout_s=2.0,
    close_timeout_s=1.0,
    backoff=Backoff(base_s=0.05, max_s=0.3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How much is published and how safe an acknowledgement is: ``batch`` events each ``pause_s`` per publisher."""

    ack: str = "accepted"
    publishers: int = 3
    batch: int = 25
    pause_s: float = 0.05
    keys: int = 200


class Load:
    """Publishes numbered events over many keys through ``url`` and consumes them at ``consumers``.

    The durable subscription SHARED has a competing consumer at each of ``consumers``; SOLO, which is strictly ordered,
    has one, at the last of them. A batch holds at most one event of a key, and is published again, ids and all, until
    every event of it is acknowledged: only then the next begins. All choices come from ``seed``.
    """

    def __init__(
        self, url: str, consumers: Sequence[str], *, seed: int, partitions: int, level: Level | None = None
    ) -> None:
        self.checker = Checker((SHARED, SOLO), slot_table(partitions), strict={SOLO})
        self.level = level or Level()
        self.errors: Counter[str] = Counter()
        self._url = url
        self._consumers = consumers
        self._stop = asyncio.Event()
        self._choices = [random.Random(f"{seed} publisher {number}") for number in range(self.level.publishers)]
        self._batches = [_batches(choose, number, self.level) for number, choose in enumerate(self._choices)]

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        """Consume while the block runs; it begins when every consumer has its subscription."""
        async with asyncio.TaskGroup() as tasks:
            at = [(SHARED, url) for url in self._consumers] + [(SOLO, self._consumers[-1])]
            opened = [asyncio.Event() for _ in at]
            consumers = [
                tasks.create_task(self._consume(name, url, event), name=f"consumer of {name} at {url}")
                for (name, url), event in zip(at, opened, strict=True)
            ]
            await self._see(lambda: all(event.is_set() for event in opened), 30, "every consumer is subscribed")
            try:
                yield
            finally:
                for consumer in consumers:
                    consumer.cancel()

    @asynccontextmanager
    async def publishing(self, finish_within_s: float = 60.0) -> AsyncIterator[None]:
        """Publish while the block runs, and go on until what was begun is acknowledged; may be done again afterwards.

        Raises AssertionError when that takes more than ``finish_within_s``.
        """
        self._stop.clear()
        async with asyncio.TaskGroup() as tasks:
            publishers = [
                tasks.create_task(self._publish(number), name=f"publisher {number}")
                for number in range(self.level.publishers)
            ]
            try:
                yield
            finally:
                self._stop.set()
            before = self.errors.copy()
            _, unfinished = await asyncio.wait(publishers, timeout=finish_within_s)
            if unfinished:
                names = sorted(task.get_name() for task in unfinished)
                raise AssertionError(f"never acknowledged: a batch of {names}; seen meanwhile: {self.errors - before}")

    async def flows(self, events: int, timeout_s: float = 60.0, *, of: str | None = None) -> None:
        """Wait until so many more events were delivered to each subscription, or to the one named."""
        goals = {name: self.checker.count(name) + events for name in self.checker.subscriptions if of in (None, name)}
        await self._see(
            lambda: all(self.checker.count(name) >= goal for name, goal in goals.items()),
            timeout_s,
            f"{events} more events are delivered",
        )

    async def acknowledges(self, events: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more events are acknowledged, delivered or not."""
        goal = len(self.checker.acknowledged) + events
        await self._see(
            lambda: len(self.checker.acknowledged) >= goal, timeout_s, f"{events} more events are acknowledged"
        )

    async def all_delivered(self, timeout_s: float = 60.0) -> None:
        """Wait until every acknowledged event was delivered to every subscription."""
        await self._see(lambda: not self.checker.undelivered(), timeout_s, "all that was accepted is delivered")

    async def _see(self, predicate: Callable[[], bool], timeout_s: float, what: str) -> None:
        try:
            await wait_for(predicate, timeout_s, what)
        except AssertionError as failure:
            missing = {name: len(ids) for name, ids in self.checker.undelivered().items()}
            raise AssertionError(
                f"{failure}; not delivered of {len(self.checker.acknowledged)}: {missing}; seen: {dict(self.errors)}"
            ) from None

    async def _publish(self, number: int) -> None:
        async with AsyncExitStack() as stack:
            client = await self._reached(stack, self._url)
            while not self._stop.is_set():
                events = next(self._batches[number])
                self.checker.publishes(events)
                await self._until_acknowledged(client, events)
                await asyncio.sleep(self.level.pause_s * self._choices[number].uniform(0.8, 1.2))

    async def _until_acknowledged(self, client: EventRouterClient, events: list[dict[str, Any]]) -> None:
        while events:
            outcomes = await client.publish_many(events, ack=self.level.ack, batch=len(events))
            refused = []
            for event, outcome in zip(events, outcomes, strict=True):
                if isinstance(outcome, PublishResult):
                    self.checker.acknowledged.add(outcome.id)
                elif isinstance(outcome, InvalidInput):
                    raise outcome
                else:
                    self.errors[f"{outcome.code}: {outcome.detail}"] += 1
                    refused.append(event)
            events = refused
            if events:
                await asyncio.sleep(AGAIN_S)

    async def _consume(self, name: str, url: str, opened: asyncio.Event) -> None:
        while True:
            try:
                async with AsyncExitStack() as stack:
                    client = await self._reached(stack, url)
                    subscription = self._subscription(client, name)
                    deliveries = await stack.enter_async_context(subscription.open())
                    opened.set()
                    async for delivery in deliveries:
                        self.checker.delivered(name, delivery.object)
                        await delivery.ack()
            except InvalidInput:
                raise
            except EventRouterError as error:
                self.errors[f"consumer: {error.code}: {error.detail}"] += 1
                await asyncio.sleep(AGAIN_S)

    def _subscription(self, client: EventRouterClient, name: str) -> SubscriptionBuilder:
        # Faults that last may cost an event many attempts, and none may become a dead letter; nothing is remembered
        # by the SDK, so that the checker sees every repeat.
        builder = (
            client.subscription(name).topics("chaos.>").ordering(ORDERING[name]).retry(100, base_s=0.05, max_s=0.5)
        )
        return builder.ack_timeout(ACK_TIMEOUT_S).max_in_flight(IN_FLIGHT).remember(0).credit(CREDIT)

    async def _reached(self, stack: AsyncExitStack, url: str) -> EventRouterClient:
        """Connect for the length of ``stack``; until that succeeds it is tried again."""
        while True:
            try:
                client = EventRouterClient(url.replace("http://", "ws://"), options=PATIENT)
                return await stack.enter_async_context(client)
            except EventRouterError as error:
                self.errors[f"connecting: {error.code}: {error.detail}"] += 1
                await asyncio.sleep(AGAIN_S)


async def subscribe(node: NodeProcess) -> None:
    """Make the load's subscriptions before anybody consumes them."""
    async with aiohttp.ClientSession() as session:
        for name in (SHARED, SOLO):
            url = f"{node.url}/v1/subscriptions/{name}"
            async with session.put(url, json={"topics": ["chaos.>"], "ordering": ORDERING[name]}) as response:
                assert response.status == 201, await response.text()


def _batches(choose: random.Random, publisher: int, level: Level) -> Iterator[list[dict[str, Any]]]:
    """Yield batches without end, over keys that no other publisher uses."""
    keys = [f"p{publisher}-key-{number}" for number in range(level.keys)]
    numbers: dict[tuple[str, int], int] = defaultdict(int)
    turns: Counter[str] = Counter()
    for serial in itertools.count():
        batch = []
        for key in choose.sample(keys, level.batch):
            priority = 8 if choose.random() < 0.1 else 5
            number = numbers[key, priority]
            numbers[key, priority] += 1
            turns[key] += 1
            batch.append(
                {
                    "type": f"chaos.load.{choose.randrange(16)}",
                    "id": f"{key}.{priority}.{number}",
                    "correlation_id": key,
                    "priority": priority,
                    "payload": {"n": number, "turn": turns[key], "batch": serial, "text": "x" * choose.randrange(400)},
                }
            )
        yield batch
