"""The four subscribers of the demo, each with what it must get, computed from the file without the router."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from router_client.errors import EventRouterError
from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.contract import Attachment, Delivery, Engine, Nack, Settlement

MAX_ATTEMPTS = 3
NO_CONTRACT = "EV"
"""The carrier whose refunds billing cannot pay, however often it is asked."""

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A subscription, which events it must get (``wants``), and how many attempts each takes (``attempts``).

    An event that takes more attempts than MAX_ATTEMPTS is dead-lettered.
    """

    spec: SubscriptionSpec
    wants: Callable[[Event], bool]
    attempts: Callable[[Mapping[str, Any]], int] = lambda _: 1


def _spec(name: str, topic: str, **more: Any) -> SubscriptionSpec:
    retry = {"max_attempts": MAX_ATTEMPTS, "base_s": 0.02, "jitter": 0.1}
    return SubscriptionSpec.from_object(name, {"topics": [topic], "retry": retry, "max_in_flight": 500, **more})


def _over_an_hour_late(event: Event) -> bool:
    return event.type.startswith("flights.departed.") and event.payload["dep_delay"] > 60


def _attempts_of_billing(event: Mapping[str, Any]) -> int:
    # Every first call fails, as when the service restarts; one carrier's calls fail for good.
    return MAX_ATTEMPTS + 1 if event["payload"]["carrier"] == NO_CONTRACT else 2


PLANS = (
    Plan(_spec("audit", "flights.>"), lambda _: True),
    Plan(_spec("board", "flights.departed.>"), lambda event: event.type.startswith("flights.departed.")),
    Plan(_spec("late", "flights.departed.>", filter={"payload.dep_delay": {"$gt": 60}}), _over_an_hour_late),
    Plan(
        _spec("billing", "flights.cancelled.>"),
        lambda event: event.type.startswith("flights.cancelled."),
        _attempts_of_billing,
    ),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a subscription's events: distinct ones that it should get, those it should not, all attempts.

    ``dead`` are those that were still refused at the last attempt.
    """

    events: int
    unwanted: int
    delivered: int
    acked: int
    retried: int
    dead: int


def expected_counts(plan: Plan, events: Iterable[Event]) -> Counts:
    """Return what the plan's subscription must come to when ``events`` are published."""
    attempts = [plan.attempts(event.to_object()) for event in events if plan.wants(event)]
    dead = sum(needed > MAX_ATTEMPTS for needed in attempts)
    delivered = sum(min(needed, MAX_ATTEMPTS) for needed in attempts)
    total = len(attempts)
    return Counts(
        events=total, unwanted=0, delivered=delivered, acked=total - dead, retried=delivered - total, dead=dead
    )


class Subscriber:
    """A consumer (see router_node.contract) that does what its plan says and remembers what it got.

    ``finished`` is set when it has seen the last attempt of as many events as it expects.
    """

    def __init__(self, plan: Plan, events: Sequence[Event], on_progress: Callable[[int], None]) -> None:
        self.plan = plan
        self.expected = expected_counts(plan, events)
        self.finished = asyncio.Event()
        self.got: list[tuple[Key, str]] = []
        self.acked = self.failed = self.given_up = 0
        self._wanted = [(_key(event.to_object()), event.id) for event in events if plan.wants(event)]
        self._on_progress = on_progress
        self._attachment: Attachment | None = None

    async def open(self, engine: Engine) -> None:
        """Create the subscription and begin to take deliveries."""
        self._attachment = await engine.open(self.plan.spec, self, self.plan.spec.max_in_flight)
        self._look_whether_finished()

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        acks: list[str] = []
        nacks: list[Nack] = []
        for delivery in deliveries:
            event = orjson.loads(delivery.body)
            self.got.append((_key(event), event["id"]))
            if delivery.attempt >= self.plan.attempts(event):
                acks.append(delivery.delivery_id)
            else:
                self.given_up += delivery.attempt == MAX_ATTEMPTS
                nacks.append(Nack(delivery.delivery_id, error="the billing service refused"))
        self.acked += len(acks)
        self.failed += len(nacks)
        asyncio.get_running_loop().call_soon(self._settle, Settlement(ack=acks, nack=nacks))

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self._attachment = None

    def counts(self) -> Counts:
        """Return what it has seen so far."""
        got, wanted = ({event_id for _, event_id in pairs} for pairs in (self.got, self._wanted))
        return Counts(
            events=len(got & wanted),
            unwanted=len(got - wanted),
            delivered=len(self.got),
            acked=self.acked,
            retried=self.failed - self.given_up,
            dead=self.given_up,
        )

    def keys_out_of_order(self) -> int:
        """Count the keys (tail number and priority) whose events did not come one after the other as published."""
        got, wanted = _by_key(self.got), _by_key(self._wanted)
        # Attempts of one event follow one another: a failing event holds back its key.
        return sum([event_id for event_id, _ in groupby(got[key])] != wanted[key] for key in wanted)

    def keys(self) -> int:
        """Count the keys it should see."""
        return len(_by_key(self._wanted))

    def _settle(self, settlement: Settlement) -> None:
        if self._attachment is not None:
            self._attachment.settle(settlement)
            self._attachment.add_credit(len(settlement.ack) + len(settlement.nack))
        self._look_whether_finished()

    def _look_whether_finished(self) -> None:
        over = self.acked + self.given_up
        self._on_progress(over)
        if over >= self.expected.events:
            self.finished.set()


def _key(event: Mapping[str, Any]) -> Key:
    return event["correlation_id"], event["priority"]


def _by_key(pairs: Iterable[tuple[Key, str]]) -> dict[Key, list[str]]:
    keys: dict[Key, list[str]] = defaultdict(list)
    for key, event_id in pairs:
        keys[key].append(event_id)
    return keys
