"""Deliver: one subscription's events to its consumers, and what comes of each delivery.

All of it runs on the event loop without awaiting: an event is offered, handed to a consumer with credit, and then
acknowledged, retried or dead-lettered. What must become durable is left in its lane for the settle stage.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from itertools import count, takewhile
from typing import Protocol

import orjson

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.contract import Consumer, Delivery, Settlement
from router_node.delivery.holder import Holder, Holders
from router_node.delivery.lane import Item, State
from router_node.delivery.letters import dead_letter
from router_node.delivery.priority_queue import Offer, PriorityQueue
from router_node.delivery.retry import backoff_s
from router_node.delivery.window import MEMORY_EVENTS, SPILL_AFTER_S, Upkeep, Window
from router_node.log.port import Entry, PartitionState, Position, RetryState
from stores.ports import DeadLetter

WAITING_AT_MOST = 1000
MAX_ERROR_CHARS = 1000


class Right(Protocol):
    """The right to deliver, as ownership knows it."""

    def epoch(self, partition: int) -> int:
        """Return the epoch under which this node owns a partition."""
        ...

    @property
    def valid(self) -> bool:
        """No lease can have run out unnoticed."""
        ...


class Dispatch:
    """The events of one subscription on this node, across the partitions it owns.

    A durable subscription spills what its consumers cannot take; an ephemeral one with a drop policy keeps a bounded
    buffer and no more promises than that. ``on_end`` is called when an ephemeral one has lost its last consumer.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        upkeep: Upkeep,
        clock: Clock,
        right: Right,
        on_end: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._upkeep = upkeep
        self._clock = clock
        self._right = right
        self._on_end = on_end
        overflow = "block" if spec.durable else spec.overflow
        self._spills = overflow == "block"
        self._ready: PriorityQueue[Item] = PriorityQueue(MEMORY_EVENTS if self._spills else spec.buffer, overflow)
        self.window = Window(
            spec.name,
            upkeep,
            clock,
            keyed=self._spills and spec.ordering == "key",
            deliverable=self._deliverable,
            wanted=lambda: len(self.holders) > 0,
        )
        self.holders = Holders()
        self.in_flight: dict[str, Item] = {}
        self.sharers = 1
        self._frozen: set[int] = set()
        self._waiting: list[tuple[float, int, Item]] = []
        self._serial = count()
        self._absent_since = clock.monotonic()
        self._pumping = False
        self.delivered = self.acked = self.retried = self.dead_lettered = 0
        self._settled_before = -1

    @property
    def max_in_flight(self) -> int:
        """The most credit one consumer may have."""
        return self.spec.max_in_flight

    @property
    def share_in_flight(self) -> int:
        """The most deliveries under way from this node: the subscription's bound, shared with ``sharers`` nodes."""
        return -(-self.spec.max_in_flight // self.sharers)

    @property
    def dropped(self) -> int:
        """Events given up by the overflow policy of an ephemeral subscription."""
        return self._ready.dropped

    def change(self, spec: SubscriptionSpec) -> None:
        """Take on a changed spec; what is in memory keeps the ordering it came with."""
        self.spec = spec
        self.window.keyed = self._spills and spec.ordering == "key"
        self.wake()

    # -- from the match stage

    def offer(self, entry: Entry, position: Position, body: bytes, correlation_id: str) -> None:
        """Take an event that matched; its entry is held until the event is settled or spilled."""
        lane = self.window.lane(entry.partition, entry.priority)
        if self.window.spilled_before(lane, position):
            return
        now = self._clock.monotonic()
        key = correlation_id if self.window.keyed else None
        item = Item(lane, position, entry.accepted_at(position), body, key, now)
        if self._spills:
            item.entry = entry
            item.kept = entry.kept_id(position)
            entry.outstanding += 1
            if lane.spilling or self.window.full or self._absent(now) or self.window.is_barred(lane):
                self.window.spill(item)
                return
        if self.window.admit(item):
            fits, victim = self._ready.offer(item, lane.key.priority)
            if fits is Offer.DROPPED:
                self.window.finish(item)
            elif fits is Offer.FULL:
                self._ready.push(item, lane.key.priority)
            elif victim is not None:
                self.window.finish(victim)
            self.wake()

    # -- from consumers

    def attach(self, consumer: Consumer, credit: int) -> Holder:
        """Add a consumer with ``credit`` deliveries to take."""
        holder = Holder(self.spec.name, self, consumer)
        self.holders.add(holder)
        holder.add_credit(credit)
        self.window.want_all()
        return holder

    def detach(self, holder: Holder, *, requeue: bool) -> None:
        """Remove a consumer; with ``requeue`` what it held is tried again at once."""
        self.holders.remove(holder)
        if not len(self.holders):
            self._absent_since = self._clock.monotonic()
        if requeue and holder.in_flight:
            for item in reversed([i for i in self.in_flight.values() if i.holder is holder]):
                self._failed(item, 0.0, "the consumer disconnected")
        if not self.spec.durable and not len(self.holders):
            self._on_end()
        self.wake()

    def settle(self, settlement: Settlement, holder: Holder | None = None) -> list[str]:
        """Settle deliveries held by ``holder`` (by anyone, when None); returns the ids that are not in flight there."""
        unknown: list[str] = []
        for delivery_id in settlement.ack:
            if (item := self._held(delivery_id, holder, unknown)) is not None:
                self.acked += 1
                self._landed(item)
                self._finish(item)
        for nack in settlement.nack:
            if (item := self._held(nack.delivery_id, holder, unknown)) is not None:
                self._failed(item, nack.delay_s, nack.error or "not acknowledged")
        for reject in settlement.reject:
            if (item := self._held(reject.delivery_id, holder, unknown)) is not None:
                self._landed(item)
                self._bury(item, "rejected", reject.error or "rejected by the consumer")
        for delivery_id in settlement.extend:
            if (item := self._held(delivery_id, holder, unknown)) is not None:
                item.deadline = self._clock.monotonic() + self.spec.ack_timeout_s
                self.in_flight[delivery_id] = self.in_flight.pop(delivery_id)
        self.wake()
        return unknown

    # -- from the clock and from ownership

    def tick(self, now: float) -> None:
        """Do what is due: ack timeouts, retries, and the window's upkeep."""
        for item in list(takewhile(lambda i: i.deadline <= now, self.in_flight.values())):
            self._failed(item, None, f"no acknowledgement within {self.spec.ack_timeout_s:g} s")
        while self._waiting and self._waiting[0][0] <= now:
            item = heapq.heappop(self._waiting)[2]
            if item.state is State.WAITING:
                self._again(item)
        if self._spills:
            self.window.tick(now, absent=self._absent(now))
        if len(self._ready) and len(self.holders):
            self.wake()

    def yield_room(self) -> None:
        """The node can hold no more: unless something was settled since the last call, let go of what is held here."""
        settled = self.acked + self.dead_lettered
        if self._spills and settled == self._settled_before:
            self.window.spill_all()
        self._settled_before = settled

    def resume(self, partition: int, state: PartitionState) -> None:
        """Take up a partition that this node has come to own."""
        self.window.resume(partition, state)

    def lose(self, partition: int) -> None:
        """Forget a partition that this node no longer owns; its next owner delivers what was not settled."""
        self._frozen.discard(partition)
        for item in self.window.lose(partition):
            if item.state is State.IN_FLIGHT:
                self._landed(item)
            item.state = State.DONE

    def freeze(self, partition: int) -> None:
        """Begin no more deliveries from a partition that is being handed over."""
        self._frozen.add(partition)

    def spill(self, partition: int, priority: int) -> None:
        """Send what is unsettled of a stream to the queue: the stream is about to be left behind."""
        if self._spills:
            self.window.spill_lane(partition, priority)

    def spill_from(self, partitions: Collection[int]) -> None:
        """Send what is unsettled of partitions to the queue: they are about to be left behind."""
        if self._spills:
            self.window.spill_from(partitions)

    def in_flight_from(self, partitions: Collection[int]) -> int:
        """Return the number of deliveries under way from these partitions."""
        return sum(item.lane.key.partition in partitions for item in self.in_flight.values())

    def holds(self, delivery_id: str, holder: Holder) -> bool:
        """Tell whether a delivery is in flight with a holder."""
        item = self.in_flight.get(delivery_id)
        return item is not None and item.holder is holder

    def undo(self, delivery_ids: Iterable[str]) -> None:
        """Take back deliveries that reached nobody: they are tried again at once, and were no attempt."""
        items = [self.in_flight[each] for each in delivery_ids if each in self.in_flight]
        for item in reversed(items):
            self._landed(item)
            item.attempts -= 1
            self._again(item)

    def dismiss(self, error: EventRouterError) -> None:
        """Let every consumer go: the node stops. What is unsettled stays in the log for the next owner."""
        for holder in self.holders.clear():
            holder.open = False
            holder.consumer.ended(error)

    def end(self, error: EventRouterError) -> None:
        """Tell every consumer that the subscription is gone, and let go of what it held in memory."""
        self.dismiss(error)
        self.in_flight.clear()
        self.window.close()

    def wake(self) -> None:
        """Have the pump run soon."""
        if not self._pumping:
            self._pumping = True
            self._upkeep.soon(self._pump)

    # -- the inside

    def _pump(self) -> None:
        self._pumping = False
        if not self._right.valid:
            return  # a process that was kept from running may have been replaced; the next tick looks again
        starved = False
        batches: dict[Holder, list[Delivery]] = {}
        deadline = self._clock.monotonic() + self.spec.ack_timeout_s
        most = self.share_in_flight
        while len(self.in_flight) < most and len(self._waiting) < WAITING_AT_MOST:
            holder = self.holders.next()
            if holder is None:
                starved = True
                break
            item = self._next_ready()
            if item is None:
                break
            partition = item.lane.key.partition
            item.state = State.IN_FLIGHT
            item.attempts += 1
            item.deadline = deadline
            item.holder = holder
            item.delivery_id = f"{self._right.epoch(partition)}.{partition}.{next(self._serial)}"
            self.in_flight[item.delivery_id] = item
            holder.credit -= 1
            holder.in_flight += 1
            batches.setdefault(holder, []).append(Delivery(item.delivery_id, item.attempts, item.body))
        for holder, deliveries in batches.items():
            self.delivered += len(deliveries)
            holder.consumer.push(deliveries)
        if starved and len(self._ready):
            for holder in self.holders:
                holder.starve(len(self._ready))

    def _next_ready(self) -> Item | None:
        while (item := self._ready.pop()) is not None:
            if item.state is State.READY and item.lane.key.partition not in self._frozen:
                return item
        return None

    def _held(self, delivery_id: str, holder: Holder | None, unknown: list[str]) -> Item | None:
        item = self.in_flight.get(delivery_id)
        if item is None or (holder is not None and item.holder is not holder):
            unknown.append(delivery_id)
            return None
        return item

    def _landed(self, item: Item) -> None:
        """Take an item out of flight."""
        self.in_flight.pop(item.delivery_id, None)
        if item.holder is not None:
            item.holder.in_flight -= 1
            item.holder = None

    def _finish(self, item: Item) -> None:
        following = self.window.finish(item)
        if following is not None:
            self._deliverable(following)

    def _deliverable(self, item: Item) -> None:
        """It is the item's turn: now, or when its next attempt is due."""
        delay_s = (item.due_us - self._clock.log_us()) / 1e6 if item.due_us else 0.0
        if delay_s > 0:
            self._wait(item, delay_s)
        else:
            self._ready.push(item, item.lane.key.priority)
            self.wake()

    def _again(self, item: Item) -> None:
        item.state = State.READY
        self._ready.push_front(item, item.lane.key.priority)
        self.wake()

    def _wait(self, item: Item, delay_s: float) -> None:
        item.state = State.WAITING
        heapq.heappush(self._waiting, (self._clock.monotonic() + delay_s, next(self._serial), item))

    def _failed(self, item: Item, delay_s: float | None, error: str) -> None:
        self._landed(item)
        item.error = error[:MAX_ERROR_CHARS]
        if item.attempts >= self.spec.retry.max_attempts:
            self._bury(item, "attempts", item.error)
            return
        self.retried += 1
        delay = backoff_s(self.spec.retry, item.attempts, self._clock.random) if delay_s is None else delay_s
        if delay <= 0:
            self._again(item)
            return
        item.due_us = self._clock.log_us() + int(delay * 1e6)
        self._wait(item, delay)
        lane = item.lane
        if item.queue_id is not None:
            lane.retry[item.queue_id] = RetryState(item.attempts, item.due_us, item.error)
            self._upkeep.make_durable(lane, self.window)
        elif self._spills and not lane.spilling:
            self.window.begin_spill(lane)

    def _bury(self, item: Item, reason: str, error: str) -> None:
        """Give an event up: to the dead letters, or, for an ephemeral subscription, for good."""
        self.dead_lettered += 1
        lane = item.lane
        if self._spills:
            lane.dead.append(self._letter(item, reason, error[:MAX_ERROR_CHARS]))
            if item.queue_id is None and item.entry is not None:
                lane.releases.append(item.entry)
                item.entry = None
            self._upkeep.make_durable(lane, self.window)
        self._finish(item)

    def _letter(self, item: Item, reason: str, error: str) -> DeadLetter:
        head = orjson.loads(item.body)
        return dead_letter(
            item.lane.key,
            item.position,
            item.accepted_at_us,
            item.body,
            reason=reason,
            error=error,
            attempts=item.attempts,
            dead_at_us=self._clock.log_us(),
            event_id=head["id"],
            event_type=head["type"],
        )

    def _absent(self, now: float) -> bool:
        return not len(self.holders) and now - self._absent_since > SPILL_AFTER_S
