"""Where every event goes: routes by their topic patterns, and under each pattern by their filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from typing import Any

from router_client.errors import Conflict
from router_client.topics import is_literal
from router_node.routing.filter_cell import Rests
from router_node.routing.filter_conditions import Conditions
from router_node.routing.filter_index import FilterIndex
from router_node.routing.filter_leaf import filed_in_order, take_out
from router_node.routing.load import Peak
from router_node.routing.route import Route
from router_node.routing.topic_index import Shape, TopicIndex

FEW = 16
"""Under one pattern, filters with this many conditions in all are tried one by one, beside MAX_LOAD."""
MAX_LOAD = 500
"""Conditions that an event may have to be checked for one by one, whatever it is: 0.1 to 0.3 ms."""

Document = Callable[[], Mapping[str, Any]]
"""Decodes an event object; called only when a filter is to look into it."""


class RouteTable:
    """Routes, found by the topic and the content of an event.

    ``load`` is how many conditions are checked one by one for an event, at worst: the sum over the shapes of patterns
    (see topic_index), of which an event meets one pattern each.
    """

    def __init__(self) -> None:
        self._topics: TopicIndex[_Filed] = TopicIndex()
        self._rests = Rests()
        self._peaks: dict[Shape | None, Peak] = {}
        self._orders = count(1)
        self.load = 0

    @property
    def patterns(self) -> int:
        """How many different patterns there are."""
        return len(self._topics)

    @property
    def shapes(self) -> int:
        """How many shapes of patterns a topic looks into, at most."""
        return self._topics.shapes

    def put(self, route: Route) -> None:
        """File a route.

        Raises InvalidInput for a bad filter, and Conflict when events would cost too much: more shapes of patterns
        than topic_index has room for, or more than MAX_LOAD conditions that no look-up decides.
        """
        self._put(route, _conditions_of(route), self.load)

    def replace(self, old: Route, new: Route) -> None:
        """File a route in place of one that is there; raises as put does, and then nothing has changed."""
        conditions, load = _conditions_of(new), self.load
        self.remove(old)
        try:
            self._put(new, conditions, load)
        except Conflict:
            self._file(old, _conditions_of(old))
            raise

    def remove(self, route: Route) -> None:
        """Take out a route that is there."""
        self._take_out(route.topics, route, _conditions_of(route))

    def match(self, topic: str, document: Document) -> list[Route]:
        """Return the routes that an event goes to, each once, in the order they were filed."""
        filed = self._topics.match(topic)
        found: list[Route] = []
        for here in filed:
            if here.plain:
                found += here.plain
            if here.few:
                event = document()
                found += [route for route in here.few if route.passes(event)]
            elif here.index is not None:
                here.index.match(document(), found)
        return sorted(dict.fromkeys(found), key=_ORDER) if len(found) > 1 else found

    def _put(self, route: Route, conditions: Conditions | None, load: int) -> None:
        """File a route, unless the load were more than it may be and than it was."""
        route.order = next(self._orders)
        self._file(route, conditions)
        if self.load > max(MAX_LOAD, load):
            self._take_out(route.topics, route, conditions)
            raise Conflict(
                f"events would have more than {MAX_LOAD} conditions checked one by one; add an equality or a range "
                "that narrows it down, or use fewer other conditions",
                field="filter",
            )
        route.pack()

    def _file(self, route: Route, conditions: Conditions | None) -> None:
        for done, pattern in enumerate(route.topics):
            here = self._topics.get(pattern)
            if here is None:
                here = _Filed()
                try:
                    self._topics.put(pattern, here)
                except Conflict:
                    self._take_out(route.topics[:done], route, conditions)
                    raise
            if conditions is None:
                here.plain = filed_in_order(here.plain, route)
            else:
                self._count(pattern, here.add(route, conditions, self._rests))

    def _take_out(self, patterns: Sequence[str], route: Route, conditions: Conditions | None) -> None:
        for pattern in patterns:
            here = self._topics.get(pattern)
            if here is None:
                continue
            if conditions is None:
                take_out(here.plain or [], route)
            else:
                self._count(pattern, here.remove(route, conditions))
            if here.is_empty:
                self._topics.remove(pattern)

    def _count(self, pattern: str, load: int) -> None:
        if load:
            shape = None if is_literal(pattern) else Shape.of(pattern)[0]
            self.load += self._peaks.setdefault(shape, Peak()).change(pattern, load)


class _Filed:
    """The routes of one pattern: without a filter, with a filter when they are few, else in an index."""

    __slots__ = ("cost", "few", "index", "plain")

    def __init__(self) -> None:
        self.plain: list[Route] | None = None
        self.few: list[Route] | None = None
        self.cost = 0
        self.index: FilterIndex | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.plain or self.few or self.index)

    def add(self, route: Route, conditions: Conditions, rests: Rests) -> int:
        """File a route with a filter; returns by what the load has changed."""
        if self.index is not None:
            load = self.index.load
            self.index.add(route, conditions)
            return self.index.load - load
        if self.cost + conditions.cost <= FEW:
            self.few = filed_in_order(self.few, route)
            self.cost += conditions.cost
            return 0
        self.index = FilterIndex(rests)
        for each in self.few or ():
            self.index.add(each, Conditions(each.filter))
        self.index.add(route, conditions)
        self.cost, self.few = 0, None
        return self.index.load

    def remove(self, route: Route, conditions: Conditions) -> int:
        """Take out a route with a filter; returns by what the load has changed."""
        if self.index is None:
            take_out(self.few or [], route)
            self.cost -= conditions.cost
            return 0
        load = self.index.load
        self.index.remove(route, conditions)
        left = self.index.load
        if not self.index:
            self.index = None
        return left - load


def _conditions_of(route: Route) -> Conditions | None:
    return Conditions(route.filter) if route.filter else None


_ORDER = attrgetter("order")
