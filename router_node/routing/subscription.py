"""One subscription of a node: no more than its spec, packed, and its route while nothing happens to it."""

from __future__ import annotations

from collections.abc import Callable

from router_client.spec import SubscriptionSpec
from router_node.delivery.item import Head
from router_node.flow.deliver import Dispatch
from router_node.log.port import Entry, Position
from router_node.routing.packed_spec import pack, unpack
from router_node.routing.route import Receiver, Route


class Subscription:
    """What is kept of a subscription: its ``route`` has topics and filter; ``dispatch`` is None while it sleeps.

    It is a Receiver itself: an event that matches a sleeping one is offered here and has it woken by ``wake``.
    ``absent_since`` is when the last consumer of a sleeping one left, in seconds of the monotonic clock; ``revision``
    that of its spec in the store, 0 while it is not known to be there.
    """

    __slots__ = ("_packed", "_wake", "absent_since", "dispatch", "ended", "name", "revision", "route")

    def __init__(
        self, spec: SubscriptionSpec, route: Route, now: float, wake: Callable[[Subscription], Dispatch]
    ) -> None:
        self._wake = wake
        self._packed = pack(spec)
        self.name = spec.name
        self.route = route
        self.dispatch: Dispatch | None = None
        self.absent_since = now
        self.ended = False
        self.revision = 0

    @property
    def spec(self) -> SubscriptionSpec:
        """What it asks for, unpacked anew for each who asks while it sleeps."""
        if self.dispatch is not None:
            return self.dispatch.spec
        return unpack(self.name, *self.route.asked, self._packed)

    def change(self, spec: SubscriptionSpec, route: Route) -> None:
        """Take on a changed spec."""
        self.route = route
        self.revision = 0
        self._packed = pack(spec)
        if self.dispatch is not None:
            self.dispatch.change(spec)

    @property
    def strict(self) -> bool:
        """Events have to be offered in the order of their positions, whatever their priority."""
        spec = self.spec
        return spec.ordering == "strict" and (spec.durable or spec.overflow == "block")

    @property
    def receiver(self) -> Receiver:
        """Who takes what matches now."""
        return self if self.dispatch is None else self.dispatch

    def awake(self) -> Dispatch:
        """Return the dispatch, which is made when there is none."""
        return self._wake(self) if self.dispatch is None else self.dispatch

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        """See Receiver. One that has ended since the event matched takes nothing."""
        if not self.ended:
            self.awake().offer(entry, position, body, head)
