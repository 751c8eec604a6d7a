"""The simple model: what one subscription was promised, told what happens to it and saying what it should not see.

It knows nothing of lanes, windows and queues: only what was accepted, what consumers were given and what they said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any

import orjson

from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.contract import Delivery
from router_node.delivery.retry import backoff_s
from tests.support.clock import FakeClock

EARLY_S = 1e-3
"""Times are rounded to microseconds on their way through the log."""


@dataclass(eq=False)
class Fate:
    """One accepted event and what became of it; ``letters`` are the places in its queue that dead letters name.

    ``attempts`` are those of the present tenure, None when no delivery of it was seen since it began; ``saved`` is how
    many of them, and until when it waits, a new owner must know.
    """

    event_id: str
    body: bytes
    order: int
    stream: Hashable
    partition: int
    expires: float = inf
    acked: bool = False
    given_up: bool = False
    letters: dict[str, None] = field(default_factory=dict)
    dropped: bool = False
    attempts: int | None = None
    not_before: float = 0.0
    saved: tuple[int, float] = (0, 0.0)


@dataclass(eq=False)
class Handed:
    """A delivery that has not come to an end, as far as its consumer knows."""

    fate: Fate
    delivery_id: str
    taker: Any
    attempt: int
    deadline: float


@dataclass
class Tenure:
    """What has happened in one partition since its present owner took it up."""

    open: dict[str, Handed] = field(default_factory=dict)
    latest: dict[Hashable, int] = field(default_factory=lambda: defaultdict(lambda: -1))
    done: set[Fate] = field(default_factory=set)


class Promises:
    """One subscription's events; ``broken`` collects what was promised and not kept.

    What is overdue may or may not have been taken back yet: both are right until something shows which.
    """

    def __init__(self, spec: SubscriptionSpec, clock: FakeClock) -> None:
        self.spec = spec
        self._clock = clock
        self.by_id: dict[str, Fate] = {}
        self.broken: list[str] = []
        self.deliveries = 0
        self.repeats = False
        self._streams: dict[Hashable, list[Fate]] = defaultdict(list)
        self._serial = count()
        self._halts = spec.on_dead_letter == "halt" and spec.ordering != "none"
        self._tenures: dict[int, Tenure] = defaultdict(Tenure)

    # -- what happens

    def sent(self, event: Event, partition: int) -> None:
        """An event is being published."""
        key = event.correlation_id
        stream: Hashable = {"key": (key, event.priority), "strict": key}.get(self.spec.ordering, event.id)
        fate = self.by_id[event.id] = Fate(event.id, event.encode(), next(self._serial), stream, partition)
        if event.expires_at is not None:
            fate.expires = event.expires_at.timestamp()
        self._streams[stream].append(fate)

    def refused(self, event_id: str) -> None:
        """It was not accepted."""
        fate = self.by_id.pop(event_id)
        self._streams[fate.stream].remove(fate)

    def new_owner(self, partition: int) -> None:
        """The owner crashed, or the partition went to another: only what is durable is known now."""
        self._tenures.pop(partition, None)
        for fate in self.by_id.values():
            if fate.partition == partition:
                fate.attempts, fate.not_before = None, fate.saved[1]

    def all_written(self) -> None:
        """Nothing is on its way to the log: what waits for its next attempt is durable."""
        for fate in self.by_id.values():
            if fate.attempts is not None and fate.not_before > self._clock.monotonic():
                fate.saved = (fate.attempts, fate.not_before)

    def delivered(self, taker: object, delivery: Delivery) -> None:
        """A consumer is given an event."""
        self.deliveries += 1
        fate = self.by_id.get(str(orjson.loads(delivery.body)["id"]))
        if fate is None or fate.body != delivery.body:
            self._break(f"{delivery.delivery_id} delivers what was never accepted: {delivery.body!r}")
            return
        if self.spec.paused:
            self._break(f"{fate.event_id} is delivered while the subscription is paused")
        if fate.expires < self._clock.monotonic() - EARLY_S:
            self._break(f"{fate.event_id} is delivered {self._clock.monotonic() - fate.expires:.3f} s too late")
        self._check_in_flight(fate)
        self._check_order(fate)
        self._check_attempt(fate, delivery.attempt)
        deadline = self._clock.monotonic() + self.spec.ack_timeout_s
        handed = Handed(fate, delivery.delivery_id, taker, delivery.attempt, deadline)
        if self._handed(delivery.delivery_id) is not None:
            self._break(f"the delivery id {delivery.delivery_id} is used twice")
        tenure = self._tenures[fate.partition]
        tenure.open[delivery.delivery_id] = handed
        tenure.latest[fate.stream] = fate.order
        fate.attempts = delivery.attempt
        in_flight = sum(each.deadline > self._clock.monotonic() for each in self.open())
        if in_flight > self.spec.max_in_flight:
            self._break(f"{in_flight} in flight, {self.spec.max_in_flight} allowed")

    def settled(self, delivery_id: str, taker: object | None, verb: str, delay_s: float | None, *, known: bool) -> None:
        """A consumer (anybody, when None) settles or extends a delivery, and is told whether it is ``known``."""
        handed = self._handed(delivery_id)
        ours = handed is not None and taker in (None, handed.taker)
        overdue = handed is not None and handed.deadline <= self._clock.monotonic()
        if known and not ours:
            self._break(f"{verb} of {delivery_id} was taken, which is not the consumer's to settle")
        if not known and ours and not overdue:
            self._break(f"{verb} of {delivery_id} was not taken, which is under way")
        if handed is None or not ours:
            return
        if not known:
            self._timed_out(handed)
        elif verb == "extend":
            handed.deadline = self._clock.monotonic() + self.spec.ack_timeout_s
        elif verb == "nack":
            self._failed(handed, self._clock.monotonic(), delay_s)
        else:
            self._done(handed, given_up=verb == "reject")

    def left(self, taker: object, *, requeue: bool) -> None:
        """A consumer has gone."""
        if requeue:
            for handed in [each for each in self.open() if each.taker is taker]:
                self._failed(handed, self._clock.monotonic(), 0.0)

    def buried(self, event_id: str, attempts: int, queue_id: str) -> None:
        """A dead letter was written; with a ``queue_id`` it halts its key."""
        fate = self.by_id.get(event_id)
        if fate is None:
            self._break(f"a dead letter of {event_id}, which was never accepted")
            return
        for handed in self._overdue(lambda each: each.fate is fate):
            self._timed_out(handed)
        if not fate.given_up:
            self._break(f"{event_id} is a dead letter after {attempts} attempts, and nobody gave it up")
        if bool(queue_id) != self._halts:
            self._break(f"the dead letter of {event_id} has queue id {queue_id!r}")
        fate.letters[queue_id] = None

    def decided(self, fate: Fate, *, replay: bool) -> None:
        """An event that halts its key is delivered again as if for the first time, or is dropped."""
        self._tenures[fate.partition].done.discard(fate)
        fate.given_up, fate.letters, fate.dropped = False, {}, not replay
        fate.attempts, fate.not_before, fate.saved = 0, 0.0, (0, 0.0)

    # -- what may be asked

    def open(self) -> list[Handed]:
        """Return the deliveries under way."""
        return [handed for tenure in self._tenures.values() for handed in tenure.open.values()]

    def unsettled(self) -> list[Fate]:
        """Return the events that nobody is done with."""
        return [fate for fate in self.by_id.values() if not self._ended(fate)]

    def halted(self) -> list[Fate]:
        """Return the events that halt their keys until somebody decides."""
        return [fate for fate in self.by_id.values() if any(fate.letters)]

    def missing(self, recoverable: set[bytes]) -> list[str]:
        """Return events that nobody is done with and that no new owner would find."""
        return [fate.event_id for fate in self.unsettled() if fate.body not in recoverable]

    # -- the inside

    def _settled(self, fate: Fate) -> bool:
        """Its key may go on."""
        return self._over(fate) or (fate.given_up and not self._halts)

    def _ended(self, fate: Fate) -> bool:
        """Nobody has to deliver it any more."""
        return self._over(fate) or (bool(fate.letters) and not self._halts)

    def _over(self, fate: Fate) -> bool:
        return fate.acked or fate.dropped or fate.expires <= self._clock.monotonic() + EARLY_S

    def _handed(self, delivery_id: str) -> Handed | None:
        return next((t.open[delivery_id] for t in self._tenures.values() if delivery_id in t.open), None)

    def _check_in_flight(self, fate: Fate) -> None:
        for handed in self._overdue(lambda each: each.fate.stream == fate.stream):
            self._timed_out(handed)
        for handed in self._tenures[fate.partition].open.values():
            again = self.repeats and self.spec.ordering == "none"
            if handed.fate.stream == fate.stream and not again:
                self._break(f"{fate.event_id} is delivered while {handed.fate.event_id} of its key is in flight")

    def _check_order(self, fate: Fate) -> None:
        ahead = [f.event_id for f in self._streams[fate.stream] if f.order < fate.order and not self._settled(f)]
        if ahead:
            self._break(f"{fate.event_id} is delivered before {ahead} of its key are settled")
        if self.repeats:
            return
        if fate.order < self._tenures[fate.partition].latest[fate.stream]:
            self._break(f"{fate.event_id} is delivered again after a later one of its key, by the same owner")
        if any(fate.letters):
            self._break(f"{fate.event_id} is delivered although it halts its key")
        if fate in self._tenures[fate.partition].done:
            self._break(f"{fate.event_id} is delivered again after it was settled, by the same owner")

    def _check_attempt(self, fate: Fate, attempt: int) -> None:
        now = self._clock.monotonic()
        if attempt > self.spec.retry.max_attempts:
            self._break(f"{fate.event_id}: attempt {attempt}, {self.spec.retry.max_attempts} allowed")
        if self.repeats:
            return
        if fate.attempts is not None and attempt != fate.attempts + 1:
            self._break(f"{fate.event_id}: attempt {attempt} after attempt {fate.attempts}")
        if fate.attempts is None and not self.spec.retry.max_attempts >= attempt > fate.saved[0]:
            self._break(f"{fate.event_id}: attempt {attempt} with a new owner, after {fate.saved[0]} in the log")
        if now < fate.not_before - EARLY_S:
            self._break(f"{fate.event_id}: attempt {attempt} comes {fate.not_before - now:.3f} s before it is due")

    def _overdue(self, which: Callable[[Handed], bool]) -> Iterable[Handed]:
        now = self._clock.monotonic()
        return [each for each in self.open() if each.deadline <= now and which(each)]

    def _timed_out(self, handed: Handed) -> None:
        self._failed(handed, handed.deadline, None)

    def _failed(self, handed: Handed, at: float, delay_s: float | None) -> None:
        policy = self.spec.retry
        if handed.attempt >= policy.max_attempts:
            self._done(handed, given_up=True)
            return
        del self._tenures[handed.fate.partition].open[handed.delivery_id]
        delay = backoff_s(policy, handed.attempt, self._clock.random) if delay_s is None else delay_s
        handed.fate.not_before = at + delay if delay > 0 else 0.0

    def _done(self, handed: Handed, *, given_up: bool) -> None:
        del self._tenures[handed.fate.partition].open[handed.delivery_id]
        handed.fate.given_up = handed.fate.given_up or given_up
        handed.fate.acked = handed.fate.acked or not given_up
        self._tenures[handed.fate.partition].done.add(handed.fate)

    def _break(self, what: str) -> None:
        self.broken.append(f"{self.spec.name} at {self._clock.monotonic():.3f} s: {what}")
