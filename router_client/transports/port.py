"""What the client needs from a transport, and what a transport needs from a subscription.

One contract suite (tests/contract/test_transports.py) holds every implementation to the same behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from router_client.errors import EventRouterError, from_problem
from router_client.spec import SubscriptionSpec
from router_client.wire import Failure


class PublishResult(NamedTuple):
    """An accepted event; ``duplicate`` when its id was accepted before within the deduplication window.

    Both are None where they are not known: over ``kafka://``, which answers before a router has seen the event.
    """

    id: str
    partition: int | None
    duplicate: bool | None


Outcome = PublishResult | EventRouterError


def read_outcome(result: Mapping[str, Any]) -> Outcome:
    """Read one of the ``results`` that answer a publish."""
    if "error" in result:
        return from_problem(result["error"])
    return PublishResult(result["id"], result["partition"], result["duplicate"])


class Delivered(NamedTuple):
    """One delivery as it arrived; ``attempt`` counts from 1, ``event`` is the event object of the wire."""

    delivery_id: str
    attempt: int
    event: dict[str, Any]


@dataclass(slots=True)
class Settlement:
    """What a subscriber says of its deliveries: done, failed, give up (dead-letter), or more time please."""

    ack: list[str] = field(default_factory=list)
    nack: list[Failure] = field(default_factory=list)
    reject: list[Failure] = field(default_factory=list)
    extend: list[str] = field(default_factory=list)

    def add(self, other: Settlement) -> None:
        """Take over what another one says."""
        self.ack += other.ack
        self.nack += other.nack
        self.reject += other.reject
        self.extend += other.extend

    def to_object(self) -> dict[str, Any]:
        """Return the JSON object of the wire, without the parts that are empty."""
        body: dict[str, Any] = {}
        if self.ack:
            body["ack"] = self.ack
        if self.nack:
            body["nack"] = [_given_back(failure) for failure in self.nack]
        if self.reject:
            body["reject"] = [_given_back(failure) for failure in self.reject]
        if self.extend:
            body["extend"] = self.extend
        return body

    def __len__(self) -> int:
        return len(self.ack) + len(self.nack) + len(self.reject) + len(self.extend)


def _given_back(failure: Failure) -> dict[str, Any]:
    return {member: value for member, value in failure._asdict().items() if value not in (None, "")}


class Inbox(Protocol):
    """Where a transport puts the deliveries of one subscription. Called on the client's event loop, never blocks."""

    def push(self, deliveries: Sequence[Delivered]) -> None:
        """Take deliveries; a transport pushes no more than the credit it was given."""
        ...

    def reset(self) -> None:
        """Learn that the connection was lost: deliveries not settled yet come again, and all credit is given anew."""
        ...

    def ended(self, error: EventRouterError) -> None:
        """Learn that nothing more will come, and why (the subscription was deleted, the client gave up)."""
        ...


class Channel(Protocol):
    """A transport's side of one open subscription."""

    def settle(self, settlement: Settlement, credit: int) -> None:
        """Send a settlement and allow ``credit`` more deliveries, soon; never waits and never raises."""
        ...

    async def close(self) -> None:
        """Send what is still to be settled and stop taking deliveries; closing twice is allowed.

        Takes a bounded time. Cancelling it leaves the connection sound; what was not sent is delivered again.
        """
        ...


class Records(Protocol):
    """What has been stored: accepted events and dead letters, as the JSON objects of the HTTP API."""

    async def event(self, event_id: str) -> dict[str, Any]:
        """Return the event object. Raises NotFound or Unavailable."""
        ...

    async def events(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page of ``GET /v1/events``; ``query`` holds its parameters. Raises InvalidInput or Unavailable."""
        ...

    async def dead_letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page of ``GET /v1/dead-letters``. Raises InvalidInput or Unavailable."""
        ...

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """Deliver letters again to the subscription each failed in; returns how many."""
        ...


class Transport(Protocol):
    """A way to a router. Opened and closed once, in the same event loop."""

    records: Records
    ordered_batches: int
    """How many publishes may be under way at once and still be appended in the order they were made."""

    async def start(self) -> None:
        """Connect. Raises ConnectionLost when the router cannot be reached within the connect timeout."""
        ...

    async def close(self) -> None:
        """Send what is queued, within ``close_timeout_s``, and disconnect; what still waits fails with ClosedError.

        Nothing of the transport runs when it returns. Closing twice is allowed.
        """
        ...

    async def publish(self, bodies: Sequence[bytes], ack: str) -> list[Outcome]:
        """Publish event objects (JSON) and return one outcome each, in order.

        After a lost connection the same bodies are sent again, so each must carry its id.
        Raises Overloaded, Unavailable, ConnectionLost or ClosedError when the batch as a whole failed. Cancelling it is
        safe: the connection stays sound, and the events may or may not have been accepted.
        """
        ...

    async def subscribe(self, spec: SubscriptionSpec, inbox: Inbox, credit: int) -> Channel:
        """Create or change the subscription and take up to ``credit`` deliveries of it.

        Raises InvalidInput for what the router refuses, Conflict when this client has it open already.
        """
        ...
