"""A destination that the node sends to: what a webhook and a Kafka topic have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.contract import Delivery, Settlement
from router_node.destinations.breaker import Breaker, State
from router_node.destinations.voice import Voice


class Hold(Protocol):
    """A hold on the subscription, as an outlet uses it."""

    def set_credit(self, credit: int) -> None:
        """Allow so many deliveries from now on."""
        ...

    def settle(self, settlement: Settlement) -> list[str]:
        """Settle deliveries."""
        ...

    def undo(self, delivery_id: str) -> None:
        """Give a delivery back without an attempt."""
        ...

    def detach(self, *, requeue: bool = True) -> None:
        """Take no more."""
        ...


class Tally:
    """What all outlets of a kind have done on a node, for the metrics."""

    def __init__(self) -> None:
        self.delivered = self.failed = self.rejected = self.in_flight = self.open_breakers = 0


class Outlet:
    """The consumer of a subscription that carries each delivery somewhere; its credit is what it may begin now.

    While nothing gets through, its breaker leaves the place alone, and deliveries wait without using up attempts.
    ``share`` tells among how many nodes its bounds are divided, ``spawn`` runs what carries one delivery.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        clock: Clock,
        tally: Tally,
        share: Callable[[], int],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._tally = tally
        self._share = share
        self._spawn = spawn
        self._breaker = Breaker()
        self._voice = Voice()
        self._in_flight = 0
        self._waking: asyncio.TimerHandle | None = None
        self._hold: Hold | None = None

    def begin(self, hold: Hold) -> None:
        """Begin to take deliveries."""
        self._hold = hold
        self.refresh()

    def change(self, spec: SubscriptionSpec) -> None:
        """Take on another spec of the same destination's kind; a place that was mended is tried at once."""
        if (spec.destination, spec.paused) != (self._spec.destination, self._spec.paused):
            self._close_breaker()
        self._spec = spec
        self.refresh()

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self._in_flight += len(deliveries)
        self._tally.in_flight += len(deliveries)
        for delivery in deliveries:
            self._spawn(self._deliver(delivery))

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self.stop()

    def stop(self) -> None:
        """Begin no more; what is under way still settles what it carries."""
        hold, self._hold = self._hold, None
        if self._waking is not None:
            self._waking.cancel()
        self._close_breaker()
        if hold is not None:
            hold.set_credit(0)
            hold.detach(requeue=False)

    def refresh(self) -> None:
        """Allow what may begin now, and look again when that changes by itself."""
        if self._hold is None:
            return
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        now = self._clock.monotonic()
        sharers = self._divide(now)
        state = self._breaker.state(now)
        if state is State.OPEN:
            self._hold.set_credit(0)
            self._wake_at(self._breaker.reopens_at() or now, now)
            return
        most = 1 if state is State.HALF_OPEN else -(-int(self._spec.destination["concurrency"]) // sharers)
        self._hold.set_credit(self._may_begin(max(0, most - self._in_flight), now))

    def _divide(self, now: float) -> int:
        """Return among how many nodes the bounds are divided now."""
        return self._share()

    def _may_begin(self, free: int, now: float) -> int:
        """Return how many of those that there is room for may begin now."""
        return free

    async def _carry(self, spec: SubscriptionSpec, hold: Hold | None, delivery: Delivery, *, probing: bool) -> None:
        """Send one delivery and settle it; ``probing`` when it is to show whether anything gets through again."""
        raise NotImplementedError

    def _wake_at(self, at: float, now: float) -> None:
        self._waking = asyncio.get_running_loop().call_later(max(at - now, 0.001), self.refresh)

    async def _deliver(self, delivery: Delivery) -> None:
        spec, hold = self._spec, self._hold
        probing = self._breaker.state(self._clock.monotonic()) is State.HALF_OPEN
        try:
            await self._carry(spec, hold, delivery, probing=probing)
        finally:
            self._in_flight -= 1
            self._tally.in_flight -= 1
            self.refresh()

    def _close_breaker(self) -> None:
        if self._breaker.reopens_at() is not None:
            self._tally.open_breakers -= 1
        self._breaker = Breaker()

    def _works_again(self) -> bool:
        """Note a success; True when it is the first after the place was left alone."""
        again = self._breaker.succeeded()
        self._tally.open_breakers -= again
        return again

    def _is_left_alone(self) -> bool:
        """Note a failure; True when the place is left alone for a while because of it."""
        before = self._breaker.reopens_at()
        opened = self._breaker.failed(self._clock.monotonic())
        self._tally.open_breakers += opened and before is None
        return opened
