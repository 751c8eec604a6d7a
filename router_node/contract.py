"""What the edges (HTTP, WebSocket, in-process) may ask of the engine, and what the engine asks of a consumer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from router_client.errors import EventRouterError
from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.access_contract import AccessDesk
from router_node.security.gate import OPEN, Access
from router_node.security.permit import Permit
from stores.ports import (
    AttemptPage,
    AttemptQuery,
    DeadLetter,
    DeadLetterPage,
    EventPage,
    EventQuery,
    LetterCounts,
    LetterFilter,
    StoredEvent,
)


class Published(msgspec.Struct, frozen=True, gc=False):
    """An accepted event; ``duplicate`` when its id was accepted before within the deduplication window."""

    id: str
    partition: int
    duplicate: bool


Results = list[Published | EventRouterError]
"""What became of the events of one publish, in their order."""


class Delivery(NamedTuple):
    """One event handed to one consumer; ``attempt`` counts from 1, ``body`` is the event object as JSON bytes."""

    delivery_id: str
    attempt: int
    body: bytes


class Nack(NamedTuple):
    """A delivery given back; None leaves the delay to the subscription's retry policy."""

    delivery_id: str
    delay_s: float | None = None
    error: str = ""


class Remark(NamedTuple):
    """What a destination learned of one attempt: its HTTP status, and the start of its answer (at most 4 KiB)."""

    status: int | None = None
    response: str = ""


NO_REMARK = Remark()


class Settlement(NamedTuple):
    """What a consumer says of its deliveries: done, failed, give up (dead-letter), or more time please.

    ``remarks`` may tell more of them, by delivery id.
    """

    ack: Sequence[str] = ()
    nack: Sequence[Nack] = ()
    reject: Sequence[Nack] = ()
    extend: Sequence[str] = ()
    remarks: Mapping[str, Remark] = {}


class Consumer(Protocol):
    """Whoever takes deliveries of a subscription on this node."""

    def push(self, deliveries: list[Delivery]) -> None:
        """Take deliveries. Called on the event loop, must return at once; never more than the credit given."""
        ...

    def ended(self, error: EventRouterError) -> None:
        """Learn that the subscription is gone (deleted, replaced or the node stops); nothing more is pushed."""
        ...


class Attachment(Protocol):
    """A consumer's hold on a subscription."""

    name: str

    def add_credit(self, more: int) -> None:
        """Allow ``more`` further deliveries; the sum is capped at the subscription's max_in_flight."""
        ...

    def settle(self, settlement: Settlement) -> list[str]:
        """Settle deliveries of this consumer; returns the ids that are not (or no longer) its own to settle."""
        ...

    def detach(self, *, requeue: bool = True) -> None:
        """Stop taking deliveries. With ``requeue`` what is in flight is delivered again at once, else after its
        ack timeout (a pull consumer's deliveries outlive the call). Detaching twice is allowed.
        """
        ...


class Engine(Protocol):
    """Events in, consumers out: what a running node offers to its edges."""

    async def publish(
        self, objects: Sequence[object], *, ack: str = "accepted", permit: Permit | None = None
    ) -> Results:
        """Check and append event objects; one result each, in order. Returns when the accepted ones are in the log.

        An event that ``permit`` does not allow has the result Forbidden.
        Raises InvalidInput for an ``ack`` level that is not offered and Unavailable when the log is away.
        """
        ...

    def begin_publish(
        self,
        objects: Sequence[object],
        done: Callable[[Results | EventRouterError], None],
        permit: Permit | None = None,
    ) -> None:
        """Publish at the level ``accepted`` without waiting; events are appended in the order of the calls.

        ``done`` is called once, on the event loop and perhaps before this returns, with the results or with why there
        are none. Raises Overloaded and Unavailable.
        """
        ...

    async def publish_events(
        self, events: Sequence[Event | EventRouterError], *, ack: str = "accepted", permit: Permit | None = None
    ) -> Results:
        """As publish, for events already built; an error among them comes back in its place."""
        ...

    def topics(self, name: str) -> tuple[str, ...]:
        """Return the patterns of an existing subscription as they are now. Raises NotFound."""
        ...

    async def open(self, spec: SubscriptionSpec, consumer: Consumer, credit: int, access: Access = OPEN) -> Attachment:
        """Create or change the subscription and attach a consumer to it; an ephemeral one ends with its consumer.

        Raises QuotaReached when ``access`` may make no more durable ones.
        """
        ...

    def attach(self, name: str, consumer: Consumer, credit: int) -> Attachment:
        """Attach a consumer to an existing subscription. Raises NotFound."""
        ...

    async def settle(self, name: str, settlement: Settlement) -> list[str]:
        """Settle deliveries of a subscription whoever holds them (pull); returns unknown ids.

        Raises NotFound, and Unavailable when the node that delivered them does not answer.
        """
        ...


class SubscriptionDesk(Protocol):
    """Durable subscriptions, to operators."""

    async def put_subscription(
        self, name: str, body: object, expected: int | None = None, *, access: Access = OPEN
    ) -> tuple[bool, dict[str, Any]]:
        """Create or replace a durable subscription; returns (created, the full spec with its ``revision`` and its
        ``owner``: who made it).

        ``expected`` is a revision, ABSENT or PRESENT (see SubscriptionStore). Raises PreconditionFailed, Forbidden
        when ``access`` may not subscribe to all its topics, those it has and those it is to have, and QuotaReached when
        it may make no more.
        """
        ...

    async def pause_subscription(self, name: str, reason: str) -> dict[str, Any]:
        """Begin no more deliveries on any node; returns the full spec. Raises NotFound and Unavailable."""
        ...

    async def resume_subscription(self, name: str) -> dict[str, Any]:
        """Deliver again; returns the full spec. Raises NotFound and Unavailable."""
        ...

    async def seek_subscription(self, name: str, to: datetime) -> dict[str, Any]:
        """Pass over the backlog, and replay what was accepted since ``to``; returns {"skip_before", "replay"}.

        Raises NotFound, NotStored, Unavailable, and InvalidInput for a time to come.
        """
        ...

    async def delete_subscription(self, name: str, *, discard_backlog: bool, expected: int | None = None) -> None:
        """Delete.

        Raises NotFound, PreconditionFailed, and Conflict while it has a backlog that is not to be discarded.
        """
        ...

    async def subscriptions(self, first: str = "", limit: int = 1_000) -> list[dict[str, Any]]:
        """Return up to ``limit`` subscriptions in the order of their names, beginning at ``first`` or after it.

        Each is its spec with its ``revision`` (0: it has none), and its ``backlog``, ``in_flight`` and ``consumers``
        in the whole cluster. An ephemeral one's name may have its node after an ``@``.
        Raises Unavailable when a node does not tell its part.
        """
        ...

    async def subscription(self, name: str) -> dict[str, Any]:
        """Return one as :meth:`subscriptions` does. Raises NotFound and Unavailable."""
        ...


class EventDesk(Protocol):
    """Stored events, to operators."""

    async def event(self, event_id: str) -> StoredEvent:
        """Return a stored event. Raises NotFound, NotStored or Unavailable."""
        ...

    async def events(self, query: EventQuery) -> EventPage:
        """Query stored events. Raises InvalidInput, NotStored or Unavailable."""
        ...


class DeliveryDesk(Protocol):
    """The delivery log, to operators."""

    async def deliveries(self, query: AttemptQuery) -> AttemptPage:
        """Query logged attempts. Raises InvalidInput or Unavailable."""
        ...


class LetterDesk(Protocol):
    """Dead letters, to operators."""

    async def page(self, wanted: LetterFilter, limit: int, cursor: str | None) -> DeadLetterPage:
        """List dead letters, oldest first. Raises InvalidInput or Unavailable."""
        ...

    async def counts(self) -> LetterCounts:
        """Return how many there are by subscription and reason. Raises Unavailable."""
        ...

    async def one(self, letter_id: str) -> DeadLetter:
        """Return one. Raises NotFound."""
        ...

    async def replay(self, letter_ids: Sequence[str]) -> int:
        """Deliver letters again to the subscription each failed in, and remove them; returns how many."""
        ...

    async def purge(self, letter_ids: Sequence[str]) -> int:
        """Remove letters; returns how many."""
        ...


class HealthDesk(Protocol):
    """The state of the node, to operators."""

    async def checks(self) -> dict[str, dict[str, Any]]:
        """Return {"transport"|"persistence"|"queue"|"workers": {"ok": bool, "detail": str}} for /readyz."""
        ...


class ClusterDesk(Protocol):
    """Nodes and partitions, to operators; any node answers for the whole cluster. All raise Unavailable."""

    async def nodes(self) -> list[dict[str, Any]]:
        """Return each node by name: {"node", "address", "version", "started_at", "seen_s", "partitions", "consumers",
        "unsettled", "load", "state": "live"|"draining"|"gone"}.

        ``seen_s`` is the age of its last sign of life, ``load`` events accepted a second, the others counts.
        """
        ...

    async def drain(self, node: str, *, undo: bool) -> None:
        """Have a node give up its partitions and take no more, or (``undo``) go back to work; both may be repeated.

        Returns before it is done. Raises NotFound, and Conflict when there is no other node to take them.
        """
        ...

    async def partitions(self) -> list[dict[str, Any]]:
        """Return each partition in order: {"partition", "owner", "placed", "epoch", "since", "backlog": {"9": n, ...},
        "spilled", "lag_s"}.

        ``owner`` is None while there is none, ``placed`` where placement wants it, ``since`` the time of the last
        hand-off or None, ``backlog`` entries of the ingest streams, ``spilled`` events in the lanes' queues.
        """
        ...

    async def growth(self) -> dict[str, Any] | None:
        """Return how far growing is: {"from", "to", "sealed", "passed", "partitions", "lanes_waiting"}, or None.

        Of ``partitions`` that give slots away, ``sealed`` have their fences in place and ``passed`` have settled all
        before them; ``lanes_waiting`` lanes hold events until then.
        """
        ...

    async def grow(self, to: int) -> dict[str, Any]:
        """Begin to grow to that many partitions, or find it begun; returns :meth:`growth`.

        Raises InvalidInput when there are as many or more, Conflict while another growth is under way.
        """
        ...

    async def rebalance(self) -> int:
        """Have every node look at its placement now; returns how many partitions are not where they are placed."""
        ...


class ReplayDesk(Protocol):
    """Replays, to operators. All raise Unavailable when the store is away."""

    async def start(self, body: object, *, access: Access = OPEN) -> dict[str, Any]:
        """Start a replay, as the body of POST /v1/replays says. Raises InvalidInput, NotFound, Conflict and
        NotStored, and Forbidden when ``access`` may not read the events.
        """
        ...

    async def list(self, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """Return one page of replays, newest first, and the cursor of the next. Raises InvalidInput."""
        ...

    async def one(self, replay_id: str) -> dict[str, Any]:
        """Return one: {"id", "subscription", "query", "rate", "state", "delivered", "skipped", "error", "created_at",
        "updated_at"}. Raises NotFound.
        """
        ...

    async def cancel(self, replay_id: str) -> dict[str, Any]:
        """Stop one that runs. Raises NotFound and Conflict."""
        ...


class FilterDesk(Protocol):
    """Filters, to operators."""

    async def test(self, body: object, *, access: Access = OPEN) -> dict[str, Any]:
        """Try a filter, or a subscription, against an event, as the body of POST /v1/filters/test says; returns
        {"matches", "conditions"} and what else was asked.

        Raises InvalidInput, NotFound (the subscription, or the stored event; also one that ``access`` may not see) and
        Unavailable.
        """
        ...


class Management(SubscriptionDesk, EventDesk, DeliveryDesk, HealthDesk, Protocol):
    """All that operators ask of a node."""

    @property
    def cluster(self) -> ClusterDesk:
        """The desk for nodes and partitions."""
        ...

    @property
    def letters(self) -> LetterDesk:
        """The desk for dead letters."""
        ...

    @property
    def filters(self) -> FilterDesk:
        """The desk for filters."""
        ...

    @property
    def replays(self) -> ReplayDesk:
        """The desk for replays."""
        ...

    @property
    def access(self) -> AccessDesk:
        """The desk for keys, policies and the audit log."""
        ...
