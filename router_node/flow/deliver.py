"""Deliver: one subscription's events to its consumers, and what comes of each delivery.

All of it runs on the event loop without awaiting: an event is offered, handed to a consumer with credit, and then
acknowledged, retried or dead-lettered. What must become durable is left in its lane for the settle stage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import count

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.contract import NO_REMARK, Consumer, Delivery, Remark, Settlement
from router_node.delivery.holder import Holder, Holders
from router_node.delivery.in_flight import InFlight
from router_node.delivery.item import HALTED, Head, Item, State
from router_node.delivery.journal import Journal, attempt_of
from router_node.delivery.letters import letter_of
from router_node.delivery.priority_queue import Offer
from router_node.delivery.retry import backoff_s
from router_node.delivery.right import Right
from router_node.delivery.sharing import Sharing
from router_node.delivery.waiting import Waiting
from router_node.delivery.window import MEMORY_EVENTS, SPILL_AFTER_S, Upkeep, Window
from router_node.log.port import Entry, PartitionState, Position, RetryState

WAITING_AT_MOST = 10_000
QUICK_S = 0.1
REST_AFTER_S = 10.0
MAX_ERROR_CHARS = 1000


class Dispatch:
    """The events of one subscription on this node, across the partitions it owns.

    A durable subscription spills what its consumers cannot take; an ephemeral one with a drop policy keeps a bounded
    buffer and no more promises than that. ``on_end`` is called when an ephemeral one has lost its last consumer.
    ``serials`` number its deliveries: never alike under one name, though dispatches of that name come and go.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        upkeep: Upkeep,
        clock: Clock,
        right: Right,
        on_end: Callable[[], None],
        journal: Journal | None = None,
        serials: Iterator[int] | None = None,
    ) -> None:
        self.spec = spec
        self._upkeep = upkeep
        self._clock = clock
        self._right = right
        self._on_end = on_end
        self._journal = journal if spec.durable else None
        overflow = "block" if spec.durable else spec.overflow
        self._spills = overflow == "block"
        self.sharers = 1
        self.holders = Holders()
        capacity = MEMORY_EVENTS if self._spills else spec.buffer
        self._ready = Sharing(self.holders, capacity, overflow, lambda: self.holders.takers(self.sharers))
        self._regroup = self._ended = False
        self.window = Window(
            spec.name,
            upkeep,
            clock,
            ordering=spec.ordering if self._spills else "none",
            deliverable=self._deliverable,
            later=self._later,
            wanted=lambda: len(self.holders) > 0 and not self.spec.paused,
        )
        self.in_flight = InFlight()
        self._frozen: set[int] = set()
        self._waiting = Waiting()
        self._serial = count() if serials is None else serials
        self.absent_since = self._made_at = clock.monotonic()
        self._pumping = False
        self.delivered = self.acked = self.retried = self.dead_lettered = self.expired = self.skipped = 0
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
        before, self.spec = self.spec, spec
        self.window.ordering = spec.ordering if self._spills else "none"
        if spec.paused and not before.paused:
            self.absent_since = self._clock.monotonic()
        if before.paused and not spec.paused:
            self.window.want_all()
        self.wake()

    # -- from the match stage

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        """Take an event that matched; its entry is held until the event is settled or spilled."""
        lane = self.window.lane(entry.partition, entry.priority)
        if self._ended or self.window.spilled_before(lane, position):
            return
        now = self._clock.monotonic()
        accepted_at_us = entry.accepted_at(position)
        item = Item(lane, position, accepted_at_us, body, head, now, keyed=self.window.keyed)
        if self._spills:
            item.entry = entry
            item.kept = entry.kept_id(position)
            entry.outstanding += 1
            if lane.spilling or self.window.full or self._absent(now) or self.window.is_barred(lane):
                self.window.spill(item)
                return
        if self.window.admit(item):
            if self._spills:
                self._ready.push(item)
            else:
                fits, victim = self._ready.offer(item)
                given_up = item if fits is Offer.DROPPED else victim
                if given_up is not None:
                    self.window.finish(given_up)
            self.wake()

    # -- from consumers

    def attach(self, consumer: Consumer, credit: int, label: str = "") -> Holder:
        """Add a consumer with ``credit`` deliveries to take; ``label`` names it alike on all nodes."""
        holder = Holder(self.spec.name, self, consumer, label or f"here {next(self._serial)}")
        self.holders.add(holder)
        self._regroup = True
        holder.add_credit(credit)
        self.window.want_all()
        return holder

    def detach(self, holder: Holder, *, requeue: bool) -> None:
        """Remove a consumer; with ``requeue`` what it held is tried again at once."""
        self.holders.remove(holder)
        self._regroup = True
        if not len(self.holders):
            self.absent_since = self._clock.monotonic()
        if requeue and holder.in_flight:
            for item in reversed(self.in_flight.of(holder)):
                self._failed(item, 0.0, "the consumer disconnected", "disconnected")
        if not self.spec.durable and not len(self.holders):
            self._on_end()
        self.wake()

    def settle(self, settlement: Settlement, holder: Holder | None = None) -> list[str]:
        """Settle deliveries held by ``holder`` (by anyone, when None); returns the ids that are not in flight there."""
        unknown: list[str] = []
        for delivery_id in settlement.ack:
            if (item := self._held(delivery_id, holder, unknown)) is not None:
                self.acked += 1
                self.in_flight.land(item)
                self._note(item, "acked", settlement.remarks.get(delivery_id, NO_REMARK))
                self._finish(item)
        for nack in settlement.nack:
            if (item := self._held(nack.delivery_id, holder, unknown)) is not None:
                remark = settlement.remarks.get(nack.delivery_id, NO_REMARK)
                self._failed(item, nack.delay_s, nack.error or "not acknowledged", "failed", remark)
        for reject in settlement.reject:
            if (item := self._held(reject.delivery_id, holder, unknown)) is not None:
                self.in_flight.land(item)
                item.error = (reject.error or "rejected by the consumer")[:MAX_ERROR_CHARS]
                self._note(item, "rejected", settlement.remarks.get(reject.delivery_id, NO_REMARK), dead=True)
                self._bury(item, "rejected")
        for delivery_id in settlement.extend:
            if (item := self._held(delivery_id, holder, unknown)) is not None:
                self.in_flight.extend(item, self._clock.monotonic() + self.spec.ack_timeout_s)
        self.wake()
        return unknown

    # -- from the clock and from ownership

    def tick(self, now: float) -> None:
        """Do what is due: ack timeouts, retries, and the window's upkeep."""
        for item in self.in_flight.overdue(now):
            self._failed(item, None, f"no acknowledgement within {self.spec.ack_timeout_s:g} s", "timed_out")
        for item in self._waiting.due(now):
            if item.state is State.WAITING:
                self._again(item)
            else:
                self.window.recall(item)
        if self._spills:
            wanting = self._ready.wanting and self.in_flight.lingers(now - QUICK_S)
            self.window.tick(now, absent=self._absent(now), wanting=wanting)
        if len(self._ready) and len(self.holders):
            self.wake()

    def at_rest(self, now: float) -> bool:
        """Nothing but counts would be lost with this dispatch, since some time: what it holds, its lanes hold too."""
        since = max(self.absent_since, self._made_at)
        return not len(self.holders) and now - since > REST_AFTER_S and self.window.empty

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
        self._waiting.lose(partition)
        for item in self.window.lose(partition):
            self.in_flight.land(item)
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

    def undo(self, delivery_ids: Iterable[str]) -> None:
        """Take back deliveries that reached nobody: they are tried again at once, and were no attempt."""
        for item in reversed(self.in_flight.these(delivery_ids)):
            self.in_flight.land(item)
            item.attempts -= 1
            self._again(item)

    def dismiss(self, error: EventRouterError) -> None:
        """Let every consumer go: the node stops. What is unsettled stays in the log for the next owner."""
        for holder in self.holders.clear():
            holder.open = False
            holder.consumer.ended(error)

    def end(self, error: EventRouterError) -> None:
        """Tell every consumer that the subscription is gone, and let go of what it held in memory."""
        self._ended = True
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
        self.pump()

    def pump(self) -> None:
        """Hand out what is ready, as far as credit and the bounds go."""
        most = self.share_in_flight
        if self.spec.paused or len(self.in_flight) >= most or len(self._waiting) >= WAITING_AT_MOST:
            return
        if self._regroup:
            self._regroup = False
            self._ready.regroup()
        batches: dict[Holder, list[Delivery]] = {}
        now, now_us = self._clock.monotonic(), self._clock.log_us()
        deadline = now + self.spec.ack_timeout_s
        for item, holder in self._ready.deal():
            partition = item.lane.key.partition
            if item.state is not State.READY or partition in self._frozen:
                continue
            if 0 < item.expires_us <= now_us:
                self._expire(item)
                continue
            if item.routed_us < self.spec.skip_before_us:
                self.skipped += 1
                self._finish(item)
                continue
            delivery_id = f"{self._right.epoch(partition)}.{partition}.{next(self._serial)}"
            self.in_flight.begin(item, holder, delivery_id, now, deadline)
            batches.setdefault(holder, []).append(Delivery(delivery_id, item.attempts, item.body))
            if len(self.in_flight) >= most:
                break
        for holder, deliveries in batches.items():
            self.delivered += len(deliveries)
            holder.consumer.push(deliveries)
        if len(self._ready) and len(self.in_flight) < most:
            for holder, waiting in list(self._ready.starving()):
                holder.starve(waiting)

    def _held(self, delivery_id: str, holder: Holder | None, unknown: list[str]) -> Item | None:
        item = self.in_flight.held(delivery_id, holder)
        if item is None:
            unknown.append(delivery_id)
        return item

    def _finish(self, item: Item) -> None:
        following = self.window.finish(item)
        if following is not None:
            self._deliverable(following)

    def _deliverable(self, item: Item) -> None:
        """It is the item's turn: now, or when its next attempt is due."""
        delay_s = (item.due_us - self._clock.log_us()) / 1e6 if item.due_us else 0.0
        if delay_s > 0:
            item.state = State.WAITING
            self._wait(item, delay_s)
        else:
            self._ready.push(item)
            self.wake()

    def _again(self, item: Item) -> None:
        item.state = State.READY
        self._ready.push_front(item)
        self.wake()

    def _later(self, item: Item) -> None:
        """An event that its queue keeps until its next attempt is due; one that halts its key waits for a decision."""
        if item.due_us != HALTED:
            self._wait(item, (item.due_us - self._clock.log_us()) / 1e6)

    def _wait(self, item: Item, delay_s: float) -> None:
        self._waiting.add(item, self._clock.monotonic() + delay_s)

    def _failed(
        self, item: Item, delay_s: float | None, error: str, outcome: str = "failed", remark: Remark = NO_REMARK
    ) -> None:
        self.in_flight.land(item)
        item.error = error[:MAX_ERROR_CHARS]
        if item.attempts >= self.spec.retry.max_attempts:
            self._note(item, outcome, remark, dead=True)
            self._bury(item, "attempts")
            return
        self._note(item, outcome, remark)
        self.retried += 1
        delay = backoff_s(self.spec.retry, item.attempts, self._clock.random) if delay_s is None else delay_s
        if delay <= 0:
            self._again(item)
            return
        item.due_us = self._clock.log_us() + int(delay * 1e6)
        item.state = State.WAITING
        self._wait(item, delay)
        lane = item.lane
        if item.queue_id is not None:
            lane.retry[item.queue_id] = RetryState(item.attempts, item.due_us, item.error)
            self._upkeep.make_durable(lane, self.window)
            self.window.wait(item)
        elif self._spills and not lane.spilling:
            self.window.begin_spill(lane)

    def _bury(self, item: Item, reason: str) -> None:
        """Give an event up: to the dead letters, or, for an ephemeral subscription, for good."""
        self.dead_lettered += 1
        lane = item.lane
        if self._spills and item.key is not None and self.spec.on_dead_letter == "halt":
            item.letter, item.state, item.due_us = letter_of(item, reason, self._clock.log_us()), State.WAITING, HALTED
            self.window.wait(item)
            if not lane.spilling:
                self.window.begin_spill(lane)
            return
        if self._spills:
            lane.dead.append(letter_of(item, reason, self._clock.log_us()))
            if item.queue_id is None and item.entry is not None:
                lane.releases.append(item.entry)
                item.entry = None
            self._upkeep.make_durable(lane, self.window)
        self._finish(item)

    def _expire(self, item: Item) -> None:
        """Let go of an event whose time has passed; it is no dead letter, nobody wants it any more."""
        self.expired += 1
        item.sent_at = self._clock.monotonic()
        self._note(item, "expired")
        self._finish(item)

    def _note(self, item: Item, outcome: str, remark: Remark = NO_REMARK, *, dead: bool = False) -> None:
        if self._journal is not None and self._journal.wants(outcome, item.attempts):
            latency_ms = (self._clock.monotonic() - item.sent_at) * 1000
            self._journal.note(attempt_of(item, outcome, self._clock.log_us(), latency_ms, remark, dead=dead))

    def _absent(self, now: float) -> bool:
        away = self.spec.paused or not len(self.holders)
        return away and now - self.absent_since > SPILL_AFTER_S
