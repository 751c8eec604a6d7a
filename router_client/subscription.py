"""The fluent builder of subscriptions: every step returns a new one, so that a half-built one can be shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from router_client.delivery import Deliveries
from router_client.errors import InvalidInput
from router_client.spec import Overflow, SubscriptionSpec

DEFAULT_CREDIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """How this client consumes a subscription, apart from what the subscription is.

    ``credit`` bounds the deliveries held here and not yet settled. An event acked here within the last
    ``remember_s`` seconds, of the last ``remember`` ones, is acked again in silence when it is delivered once more;
    0 switches that off.
    """

    credit: int = DEFAULT_CREDIT
    remember: int = 10_000
    remember_s: float = 300.0


Opener = Callable[[SubscriptionSpec, Consumption], AbstractAsyncContextManager[Deliveries]]


@dataclass(frozen=True, slots=True)
class SubscriptionBuilder:
    """A subscription in the making; start with ``client.subscription(name)`` and finish with :meth:`open`."""

    name: str
    opener: Opener = field(repr=False)
    body: Mapping[str, Any] = field(default_factory=dict)
    consumption: Consumption = Consumption()

    def topics(self, *patterns: str) -> Self:
        """Take events whose type fits one of ``patterns``, besides those named before."""
        return self._with(topics=(*self.body.get("topics", ()), *patterns))

    def where(self, condition: Mapping[str, Any]) -> Self:
        """Take only events that fit this filter, for example ``{"payload.amount": {"$gt": 100}}``."""
        return self._with(filter=dict(condition))

    def ordering(self, ordering: Literal["key", "strict", "none"]) -> Self:
        """Keep events of one correlation id and priority in order, one in flight (``key``), those of one correlation id
        whatever their priority (``strict``), or none.
        """
        return self._with(ordering=ordering)

    def on_dead_letter(self, then: Literal["release", "halt"]) -> Self:
        """Let a key go on when its event is dead-lettered, or ``halt`` it until that is replayed or purged."""
        return self._with(on_dead_letter=then)

    def retry(self, max_attempts: int = 5, **policy: float) -> Self:
        """Deliver at most ``max_attempts`` times; ``base_s``, ``factor``, ``max_s`` and ``jitter`` shape the waits."""
        return self._with(retry={"max_attempts": max_attempts, **policy})

    def ack_timeout(self, seconds: float) -> Self:
        """Take a delivery that is not settled for so long as failed."""
        return self._with(ack_timeout_s=seconds)

    def max_in_flight(self, deliveries: int) -> Self:
        """Bound the unsettled deliveries of the subscription, all its consumers together."""
        return self._with(max_in_flight=deliveries)

    def ephemeral(self, *, buffer: int = 1000, overflow: Overflow = "drop_oldest") -> Self:
        """Live only as long as it is open, and keep at most ``buffer`` events that are not taken yet."""
        return self._with(durable=False, buffer=buffer, overflow=overflow)

    def credit(self, deliveries: int) -> Self:
        """Hold at most so many unsettled deliveries in this client (100 unless said). Raises InvalidInput below 1."""
        if deliveries < 1:
            raise InvalidInput("at least 1", field="credit")
        return replace(self, consumption=replace(self.consumption, credit=deliveries))

    def remember(self, events: int, *, seconds: float = 300.0) -> Self:
        """Ack in silence what was acked here lately and is delivered again; 0 events switches that off."""
        return replace(self, consumption=replace(self.consumption, remember=events, remember_s=seconds))

    def spec(self) -> SubscriptionSpec:
        """Check what was built. Raises InvalidInput whose ``field`` is the part at fault."""
        return SubscriptionSpec.from_object(self.name, dict(self.body))

    def open(self) -> AbstractAsyncContextManager[Deliveries]:
        """Create or change the subscription and consume it for the length of an ``async with``.

        Entering raises InvalidInput for what the router refuses, Conflict when this client has the name open already,
        and Unavailable or ConnectionLost. Leaving sends every ack; deliveries not settled are delivered again.
        """
        return self.opener(self.spec(), self.consumption)

    def _with(self, **members: Any) -> Self:
        return replace(self, body={**self.body, **members})
