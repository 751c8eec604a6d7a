"""The real stages of one node on a shared log, with consumers, crashes and hand-overs, in time that is not real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import cast

import orjson

from partitioning.slots import slot_of
from router_client.errors import EventRouterError
from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.contract import Delivery, Nack, Settlement
from router_node.delivery.holder import Holder
from router_node.flow.deliver import Dispatch
from router_node.flow.record import OFF, Recorder
from router_node.pipeline import Pipeline
from router_node.storing import Storing
from stores.ports import DeadLetter, DeliveryLog, EventStore, Outbox, StoredEvent
from tests.delivery.model_log import Call, NodeLog, SharedLog
from tests.delivery.model_promises import Fate, Promises
from tests.support.clock import FakeClock
from tests.support.virtual_time import VirtualTimeLoop

PARTITIONS = 2


class Letters:
    """The dead letters, told to the promises they concern."""

    def __init__(self, promises: dict[str, Promises]) -> None:
        self._promises = promises

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self._promises[letter.subscription].buried(letter.event_id, letter.attempts, letter.queue_id)


class Shelf:
    """A store that takes everything; what it does is none of this test's business."""

    async def save(self, events: Sequence[StoredEvent]) -> int:
        return len(events)

    async def ping(self) -> None:
        return


class Taker:
    """A consumer; an ``eager`` one acknowledges at once, again and again."""

    def __init__(self, promises: Promises, *, eager: bool) -> None:
        self.promises = promises
        self.eager = eager
        self.holder: Holder | None = None
        self.got: list[str] = []
        self.credit = 0

    @property
    def name(self) -> str:
        """The subscription."""
        return self.promises.spec.name

    def push(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self.credit -= 1
            self.got.append(delivery.delivery_id)
            self.promises.delivered(self, delivery)
        if self.credit < 0:
            self.promises.broken.append(f"a consumer of {self.name} got {-self.credit} more than it has credit for")
        if self.eager:
            asyncio.get_running_loop().call_soon(self.take_all, [delivery.delivery_id for delivery in deliveries])

    def ended(self, error: EventRouterError) -> None:
        self.promises.broken.append(f"a consumer of {self.name} is told that its subscription has ended: {error}")

    def give_credit(self, more: int) -> None:
        """Take ``more`` deliveries than before."""
        assert self.holder is not None
        self.credit = min(self.credit + more, self.promises.spec.max_in_flight)
        self.holder.add_credit(more)

    def take_all(self, delivery_ids: Sequence[str]) -> None:
        """Acknowledge deliveries, if the connection lasts, and ask for as many."""
        for delivery_id in delivery_ids:
            self.say("ack", delivery_id)
        if self.holder is not None:
            self.give_credit(len(delivery_ids))

    def say(self, verb: str, delivery_id: str, delay_s: float | None = None) -> None:
        """Settle a delivery as its holder, if the connection lasts."""
        if self.holder is not None:
            known = not self.holder.settle(settlement(verb, delivery_id, delay_s))
            self.promises.settled(delivery_id, self, verb, delay_s, known=known)


def settlement(verb: str, delivery_id: str, delay_s: float | None = None) -> Settlement:
    """Return the settlement of one delivery."""
    if verb in ("nack", "reject"):
        nack = [Nack(delivery_id, delay_s, f"no ({verb})")]
        return Settlement(nack=nack) if verb == "nack" else Settlement(reject=nack)
    return Settlement(ack=[delivery_id]) if verb == "ack" else Settlement(extend=[delivery_id])


class Node:
    """One node's stages, running; it is its own right to deliver."""

    def __init__(
        self,
        shared: SharedLog,
        clock: FakeClock,
        specs: Sequence[SubscriptionSpec],
        lost: Callable[[int], None],
    ) -> None:
        self.valid = True
        self._shared = shared
        self._tell = lost
        self.log = NodeLog(shared, 0)
        self.lost: set[int] = set()
        self.pipeline = Pipeline(
            partitions=PARTITIONS,
            ingest=self.log,
            lanes=self.log,
            generations=self.log,
            append_replicated=self.log.append,
            store=cast(EventStore, Shelf()),
            outbox=cast(Outbox, None),
            storing=Storing(),
            recorder=Recorder(cast(DeliveryLog, None), "model", OFF),
            clock=clock,
            right=self,
            lost=self._lost,
            place=lambda slot: (slot % PARTITIONS, PARTITIONS),
            max_event_bytes=10_000,
        )
        for spec in specs:
            self.pipeline.registry.put(spec)
        self.stop = asyncio.Event()
        self.running = asyncio.create_task(self.pipeline.run(self.stop))

    def epoch(self, partition: int) -> int:
        return self.log.token

    async def own(self, token: int, partitions: Sequence[int]) -> None:
        """Take partitions up under a new token; the old one is worth nothing from now on."""
        self._shared.owner = self.log.token = token
        for partition in partitions:
            self.lost.discard(partition)
            await self.pipeline.own(partition)

    def lose_all(self) -> None:
        """Drop every partition."""
        for partition in range(PARTITIONS):
            self.pipeline.disown(partition)
            self._tell(partition)

    def _lost(self, partition: int) -> None:
        self.lost.add(partition)
        self._tell(partition)

    async def die(self) -> None:
        """End at once, writing nothing."""
        self.valid = False
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


class Site:
    """One node after another on the same log, and the consumers of its subscriptions."""

    def __init__(self, specs: Sequence[SubscriptionSpec]) -> None:
        self.clock = FakeClock()
        self.loop = VirtualTimeLoop(self.clock)
        self.promises = {spec.name: Promises(spec, self.clock) for spec in specs}
        self.log = SharedLog(Letters(self.promises), self.clock)
        self.takers: list[Taker] = []
        self._tokens = count(1)
        self._serial = count()
        self.node = self._begin()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- events and consumers

    def publish(self, events: Sequence[tuple[str, int]], expires_s: float | None = None) -> None:
        """Publish events of these (key, priority), in one call; they expire after so many seconds, or never."""
        batch = [self._event(key, priority, expires_s) for key, priority in events]
        for event in batch:
            for promises in self.promises.values():
                promises.sent(event, slot_of(event.correlation_id) % PARTITIONS)
        results = self.loop.run_until_complete(self.node.pipeline.publisher.publish_events(batch))
        for event, result in zip(batch, results, strict=True):
            if isinstance(result, EventRouterError):
                for promises in self.promises.values():
                    promises.refused(event.id)
        self.turn()

    def _event(self, key: str, priority: int, expires_s: float | None) -> Event:
        now = datetime.fromtimestamp(self.clock.monotonic(), UTC)
        return Event(
            type="a.b",
            id=f"{key}{priority}-{next(self._serial)}",
            correlation_id=key,
            priority=priority,
            timestamp=now,
            expires_at=None if expires_s is None else now + timedelta(seconds=expires_s),
        )

    def attach(self, subscription: str, credit: int, *, eager: bool) -> Taker:
        """Add a consumer."""
        taker = Taker(self.promises[subscription], eager=eager)
        taker.credit = min(credit, taker.promises.spec.max_in_flight)
        taker.holder = self.loop.inside(lambda: self.dispatch(subscription).attach(taker, credit))
        self.takers.append(taker)
        self.turn()
        return taker

    def detach(self, taker: Taker, *, requeue: bool) -> None:
        """Have a consumer go."""
        assert taker.holder is not None
        holder, taker.holder = taker.holder, None
        self.takers.remove(taker)
        taker.promises.left(taker, requeue=requeue)
        self.loop.inside(lambda: holder.detach(requeue=requeue))
        self.turn()

    def settle_for_anyone(self, subscription: str, verb: str, delivery_id: str) -> None:
        """Settle a delivery whoever holds it, as a pull consumer does."""

        def say() -> None:
            known = not self.dispatch(subscription).settle(settlement(verb, delivery_id))
            self.promises[subscription].settled(delivery_id, None, verb, None, known=known)

        self.loop.inside(say)
        self.turn()

    def say(self, taker: Taker, verb: str, delivery_id: str, delay_s: float | None = None) -> None:
        """Have a consumer settle a delivery."""
        self.loop.inside(lambda: taker.say(verb, delivery_id, delay_s))
        self.turn()

    def give_credit(self, taker: Taker, more: int) -> None:
        """Have a consumer ask for more."""
        self.loop.inside(lambda: taker.give_credit(more))
        self.turn()

    def take_all(self) -> None:
        """Have every consumer acknowledge what it holds, and ask for as many."""
        for taker in self.takers:
            held = [handed.delivery_id for handed in taker.promises.open() if handed.taker is taker]
            self.loop.inside(lambda taker=taker, held=held: taker.take_all(held))  # type: ignore[misc]
        self.turn()

    def pause(self, subscription: str, *, paused: bool) -> None:
        """Have a subscription deliver nothing, or go on."""
        promises = self.promises[subscription]
        promises.spec = replace(promises.spec, paused=paused)
        self.loop.inside(lambda: self.node.pipeline.registry.put(promises.spec))
        self.turn()

    def decide(self, subscription: str, fate: Fate, *, replay: bool) -> None:
        """Have an event that halts its key delivered again, or dropped."""
        priority, window = orjson.loads(fate.body)["priority"], self.dispatch(subscription).window
        decision = window.release if replay else window.drop

        def say() -> None:
            promises = self.promises[subscription]
            done = [decision(fate.partition, priority, each.encode()) for each in fate.letters]
            if not all(done):
                promises.broken.append(f"{fate.event_id} halts its key and cannot be decided on")
            promises.decided(fate, replay=replay)

        self.loop.inside(say)
        self.turn()

    def dispatch(self, subscription: str) -> Dispatch:
        """Return the node's dispatch of a subscription."""
        return self.node.pipeline.registry.get(subscription)

    def dispatches(self) -> list[Dispatch]:
        """Return those of subscriptions that are awake."""
        return list(self.node.pipeline.registry)

    def fall_asleep(self) -> None:
        """Have every consumer take what it can get, leave, and stay away; what has nothing left then sleeps."""
        for _ in range(3):
            self.take_all()
        for taker in list(self.takers):
            self.detach(taker, requeue=True)
        self.advance(1.5)

    # -- time and owners

    @property
    def all_written(self) -> bool:
        """Nothing is on its way to the log, and what is decided now is written at once."""
        return not self.node.log.hindered and self.node.pipeline.settler._quiet.is_set()

    def turn(self) -> None:
        """Let everything happen that can without time going on; a partition found lost is taken again."""
        self.loop.turn()
        if self.node.lost:
            self._own(self.node, sorted(self.node.lost))
        if self.all_written:
            for promises in self.promises.values():
                promises.all_written()

    def advance(self, seconds: float) -> None:
        """Let time go on; a node whose leases were taken learns it in time."""
        if self.log.owner != self.node.log.token:
            self.lapse()
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.turn()

    def lose_answer(self, call: Call) -> None:
        """Do what the next call of this kind asks, and let the node not know; a step is then done twice."""
        self.node.log.lose_answer(call)
        for promises in self.promises.values():
            promises.repeats = promises.repeats or call == "step"

    def crash(self) -> None:
        """The node is gone, with whatever was on its way to the log or back; another takes over."""
        self._end()
        self.node = self._begin()

    def hand_over(self) -> None:
        """The node lets go in good order; another takes over."""
        self.loop.run_until_complete(self.node.pipeline.let_go(range(PARTITIONS)))
        self.loop.inside(self.node.lose_all)
        self._end()
        self.node = self._begin()

    def lapse(self) -> None:
        """The node's leases run out, and it takes them again at once, with calls of before still under way."""
        self.loop.inside(self.node.lose_all)
        self._own(self.node, range(PARTITIONS))

    def usurp(self) -> None:
        """The node's leases run out without its knowing; its next write tells it."""
        self.log.owner = next(self._tokens)

    def close(self) -> None:
        """End everything."""
        self._end()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _begin(self) -> Node:
        specs = [promises.spec for promises in self.promises.values()]
        node = self.loop.inside(lambda: Node(self.log, self.clock, specs, self._new_tenure))
        self._own(node, range(PARTITIONS))
        return node

    def _own(self, node: Node, partitions: Sequence[int]) -> None:
        self.loop.run_until_complete(node.own(next(self._tokens), partitions))
        self.loop.turn()

    def _end(self) -> None:
        for taker in self.takers:
            taker.holder = None
        self.takers.clear()
        self.log.owner = 0
        self.loop.run_until_complete(self.node.die())
        for partition in range(PARTITIONS):
            self._new_tenure(partition)

    def _new_tenure(self, partition: int) -> None:
        for promises in self.promises.values():
            promises.new_owner(partition)
