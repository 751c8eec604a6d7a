"""The subscriptions of this node: their specs, who matches a topic, and which of them are awake.

A subscription is awake while anything of it is in memory but its spec: consumers, events, queues to read. What is done
to all of them, each tick or when a partition changes hands, is done to those that are awake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Any

from router_client.errors import Conflict
from router_client.event import MAX_EVENT_BYTES
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.delivery.high_water import HighWater
from router_node.flow.deliver import Dispatch
from router_node.log.port import PartitionState
from router_node.routing.name_order import NameOrder
from router_node.routing.owners import Owners
from router_node.routing.route import Receiver, Route
from router_node.routing.route_table import Document, RouteTable
from router_node.routing.subscription import Subscription
from router_node.security.permission import unknown_subscription

MAX_SUBSCRIPTIONS = 1_000_000
LOOKED_AT_ONCE = 100


class Registry:
    """Subscriptions by name; all methods are synchronous. Iterating yields the dispatches of those that are awake.

    ``new_dispatch`` makes the delivery side of one, ``way_in`` finds who takes what matches it; ``changed`` hears
    the name of each that was made, changed or removed.
    """

    def __init__(
        self,
        new_dispatch: Callable[[SubscriptionSpec], Dispatch],
        clock: Clock,
        way_in: Callable[[Subscription], Receiver] = lambda subscription: subscription.receiver,
    ) -> None:
        self._new_dispatch = new_dispatch
        self._clock = clock
        self._way_in = way_in
        self._by_name: dict[str, Subscription] = {}
        self._order = NameOrder(self._by_name.keys())
        self._awake: dict[str, Dispatch] = {}
        self._to_look_at: Iterator[str] = iter(())
        self._high_water = HighWater()
        self._frozen: set[int] = set()
        self._waking = self._wake
        self.owners = Owners()
        self.routes = RouteTable()
        self.changed: Callable[[str], None] = lambda _: None

    def __iter__(self) -> Iterator[Dispatch]:
        return iter(list(self._awake.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def awake(self) -> int:
        """How many are awake."""
        return len(self._awake)

    def match(
        self, topic: str, document: Document, target: str | None = None, size: int = MAX_EVENT_BYTES
    ) -> list[Route]:
        """Return the routes of an event, each once; only that of the subscription ``target`` when it is given.

        Raises TooCostly as RouteTable.match does.
        """
        if target is None:
            return self.routes.match(topic, document, size)
        found = self._by_name.get(target)
        return [found.route] if found is not None and self.routes.takes(found.route, topic, document, size) else []

    def specs(self) -> Iterator[SubscriptionSpec]:
        """Yield the spec of every subscription there is now, and wake none."""
        return (subscription.spec for subscription in list(self._by_name.values()))

    def spec(self, name: str) -> SubscriptionSpec:
        """Return the spec of a subscription, which is not woken. Raises NotFound."""
        return self._found(name).spec

    def names(self, first: str, limit: int) -> list[str]:
        """Return up to ``limit`` names in order, beginning with ``first`` or what comes after it."""
        return self._order.starting_at(first, limit)

    def awake_names(self, first: str, limit: int) -> list[str]:
        """Return what :meth:`names` does, of those that are awake."""
        return nsmallest(limit, (name for name in self._awake if name >= first))

    def revision(self, name: str) -> int:
        """Return the revision of a subscription's spec in the store; 0 while it is not known to be there."""
        return self._found(name).revision

    def stored(self, name: str, revision: int) -> None:
        """Learn that what is known here is in the store, and its revision. Raises NotFound."""
        self._found(name).revision = revision

    def check(self, name: str) -> None:
        """Raise NotFound when there is no such subscription."""
        self._found(name)

    def get(self, name: str) -> Dispatch:
        """Return the dispatch of a subscription, which is woken. Raises NotFound saying how to make one."""
        return self._found(name).awake()

    def if_awake(self, name: str) -> Dispatch | None:
        """Return the dispatch of a subscription, None when it sleeps or there is none."""
        return self._awake.get(name)

    def put(self, spec: SubscriptionSpec) -> None:
        """Create or change a subscription; it is not woken.

        Raises InvalidInput for a bad filter, Conflict when a durable name is asked to become ephemeral or the other
        way round, when there are too many, or when finding it would cost every event too much (see RouteTable.put).
        """
        route = Route(spec.name, spec.topics, spec.filter)
        subscription = self._by_name.get(spec.name)
        if subscription is None:
            if len(self._by_name) >= MAX_SUBSCRIPTIONS:
                raise Conflict(f"this node has {MAX_SUBSCRIPTIONS} subscriptions; delete some first")
            self.routes.put(route)
            subscription = Subscription(spec, route, self._clock.monotonic(), self._waking)
            self._by_name[spec.name] = subscription
            self._order.came(spec.name)
        else:
            if subscription.spec.durable != spec.durable:
                kind = "ephemeral" if spec.durable else "durable"
                raise Conflict(f"{spec.name} is {kind} and cannot change that; use another name", field="durable")
            self.routes.replace(subscription.route, route)
            subscription.change(spec, route)
        route.receiver = self._way_in(subscription)
        self.changed(spec.name)

    def remove(self, name: str) -> Dispatch | None:
        """Forget a subscription; returns its dispatch, for the caller to end, when it is awake."""
        subscription = self._by_name.pop(name, None)
        if subscription is None:
            return None
        self._order.went(name)
        self.owners.forget(name)
        self.routes.remove(subscription.route)
        subscription.ended = True
        self._high_water.forget(name)
        self._awake.pop(name, None)
        self.changed(name)
        return subscription.dispatch

    def shown(self, spec: SubscriptionSpec) -> dict[str, Any]:
        """Return what people get to see of a spec: with who made the subscription."""
        return {**spec.public_object(), "owner": self.owners.of(spec.name)}

    def to_store(self, spec: SubscriptionSpec) -> dict[str, Any]:
        """Return what the store is to keep of a spec: with who made the subscription, where that is known."""
        owner = self.owners.of(spec.name)
        return spec.to_object() if owner is None else {**spec.to_object(), "owner": owner}

    # -- partitions come and go

    def resume(self, partition: int, state: PartitionState) -> None:
        """Take up a partition that this node has come to own; wakes those that have something in its queues."""
        for name, part in state.by_subscription().items():
            subscription = self._by_name.get(name)
            if subscription is not None:
                self._high_water.keep(partition, name, part.high_water)
                if part.queued:
                    subscription.awake()
                if subscription.dispatch is not None:
                    subscription.dispatch.resume(partition, part)

    def freeze(self, partition: int) -> None:
        """Begin no more deliveries from a partition that is being handed over."""
        self._frozen.add(partition)
        for dispatch in self:
            dispatch.freeze(partition)

    def lose(self, partition: int) -> None:
        """Forget a partition."""
        self._frozen.discard(partition)
        self._high_water.lose(partition)
        for dispatch in self:
            dispatch.lose(partition)

    # -- falling asleep and waking

    def settle_down(self, now: float) -> list[Dispatch]:
        """Put to sleep what has been at rest for a while; returns their dispatches, for the caller to keep the counts.

        Of many that are awake each call looks at the next ``LOOKED_AT_ONCE``.
        """
        asleep = []
        for _ in range(min(LOOKED_AT_ONCE, len(self._awake))):
            name = next(self._to_look_at, None)
            if name is None:
                self._to_look_at = iter(list(self._awake))
                name = next(self._to_look_at)
            dispatch = self._awake.get(name)
            if dispatch is not None and dispatch.at_rest(now):
                self._put_to_sleep(self._by_name[name], dispatch)
                asleep.append(dispatch)
        return asleep

    def _put_to_sleep(self, subscription: Subscription, dispatch: Dispatch) -> None:
        del self._awake[subscription.name]
        subscription.dispatch = None
        subscription.absent_since = dispatch.absent_since
        subscription.route.receiver = self._way_in(subscription)

    def _wake(self, subscription: Subscription) -> Dispatch:
        """Make the dispatch of a sleeping subscription, as if it had been there all the time."""
        name = subscription.name
        dispatch = subscription.dispatch = self._awake[name] = self._new_dispatch(subscription.spec)
        dispatch.absent_since = subscription.absent_since
        for partition in self._frozen:
            dispatch.freeze(partition)
        for partition, marks in self._high_water.of(name):
            dispatch.resume(partition, marks)
        subscription.route.receiver = self._way_in(subscription)
        return dispatch

    def _found(self, name: str) -> Subscription:
        found = self._by_name.get(name)
        if found is None:
            raise unknown_subscription(name)
        return found
