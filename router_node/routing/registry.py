"""The subscriptions of this node: their specs, their dispatches, and which of them an event goes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from router_client.errors import Conflict, NotFound
from router_client.spec import SubscriptionSpec
from router_node.flow.deliver import Dispatch
from router_node.log.port import PartitionState
from router_node.routing.route import Receiver, Route
from router_node.routing.route_table import Document, RouteTable

MAX_SUBSCRIPTIONS = 100_000


class Registry:
    """Subscriptions by name; all methods are synchronous.

    ``new_dispatch`` makes the delivery side of one, ``way_in`` finds who takes what matches it; ``changed`` hears
    the name of each that was made, changed or removed.
    """

    def __init__(
        self,
        new_dispatch: Callable[[SubscriptionSpec], Dispatch],
        way_in: Callable[[Dispatch], Receiver] = lambda dispatch: dispatch,
    ) -> None:
        self._new_dispatch = new_dispatch
        self._way_in = way_in
        self._by_name: dict[str, tuple[Dispatch, Route]] = {}
        self.routes = RouteTable()
        self.changed: Callable[[str], None] = lambda _: None

    def __iter__(self) -> Iterator[Dispatch]:
        return (dispatch for dispatch, _ in list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def match(self, topic: str, document: Document, target: str | None = None) -> list[Route]:
        """Return the routes of an event, each once; only that of the subscription ``target`` when it is given."""
        if target is None:
            return self.routes.match(topic, document)
        found = self._by_name.get(target)
        return [found[1]] if found is not None and found[1].takes(topic, document) else []

    def get(self, name: str) -> Dispatch:
        """Return the dispatch of a subscription. Raises NotFound saying how to make one."""
        found = self._by_name.get(name)
        if found is None:
            raise NotFound(f"no subscription named {name}; create it with PUT /v1/subscriptions/{name}", field="name")
        return found[0]

    def put(self, spec: SubscriptionSpec) -> Dispatch:
        """Create or change a subscription.

        Raises InvalidInput for a bad filter, Conflict when a durable name is asked to become ephemeral or the other
        way round, when there are too many, or when finding it would cost every event too much (see RouteTable.put).
        """
        route = Route(spec.name, spec.topics, spec.filter)
        there = self._by_name.get(spec.name)
        if there is None:
            if len(self._by_name) >= MAX_SUBSCRIPTIONS:
                raise Conflict(f"this node has {MAX_SUBSCRIPTIONS} subscriptions; delete some first")
            self.routes.put(route)
            dispatch = self._new_dispatch(spec)
        else:
            dispatch, old = there
            if dispatch.spec.durable != spec.durable:
                kind = "durable" if dispatch.spec.durable else "ephemeral"
                raise Conflict(f"{spec.name} is {kind} and cannot change that; use another name", field="durable")
            self.routes.replace(old, route)
            dispatch.change(spec)
        route.receiver = self._way_in(dispatch)
        self._by_name[spec.name] = (dispatch, route)
        self.changed(spec.name)
        return dispatch

    def remove(self, name: str) -> Dispatch | None:
        """Forget a subscription; returns its dispatch, for the caller to end."""
        found = self._by_name.pop(name, None)
        if found is None:
            return None
        self.routes.remove(found[1])
        self.changed(name)
        return found[0]

    def resume(self, partition: int, state: PartitionState) -> None:
        """Let every subscription take up a partition that this node has come to own."""
        for dispatch, _ in self._by_name.values():
            dispatch.resume(partition, state)

    def lose(self, partition: int) -> None:
        """Let every subscription forget a partition."""
        for dispatch, _ in self._by_name.values():
            dispatch.lose(partition)
