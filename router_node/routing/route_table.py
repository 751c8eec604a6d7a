"""Where every event goes: routes by their topic patterns, and under each pattern by their filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from operator import attrgetter
from typing import Any

from router_client.errors import Conflict
from router_client.event import MAX_EVENT_BYTES
from router_client.topics import is_literal
from router_node.routing.effort import Effort, TooMuch
from router_node.routing.filter_cell import Rests
from router_node.routing.filter_conditions import Conditions
from router_node.routing.filter_index import FilterIndex
from router_node.routing.filter_language import Filter, compile_filter
from router_node.routing.filter_leaf import filed_in_order, take_out
from router_node.routing.load import Peak
from router_node.routing.route import Route
from router_node.routing.topic_index import Shape, TopicIndex

FEW = 8
"""Under one pattern, filters with this many conditions in all are tried one by one, as part of MAX_LOOKUPS."""
MAX_LOAD = 300
"""Conditions that an event may have to be checked for one by one, whatever it is."""
MAX_LOOKUPS = 300
"""Values that an event may be looked up by, over all its patterns; what has no room is checked one by one."""

Document = Callable[[], Mapping[str, Any]]
"""Decodes an event object; called only when a filter is to look into it."""


class RouteTable:
    """Routes, found by the topic and the content of an event.

    ``load`` is how many conditions are checked one by one for an event, at worst: the sum over the shapes of patterns
    (see topic_index), of which an event meets one pattern each. ``lookups`` is the same of values looked up.
    ``effort`` is what the event that is being matched, and whatever else is asked of it, takes its steps of.
    """

    def __init__(self) -> None:
        self._topics: TopicIndex[_Filed] = TopicIndex()
        self.effort = Effort()
        self._rests = Rests(self.effort)
        self._peaks: dict[Shape | None, tuple[Peak, Peak]] = {}
        self._orders = count(1)
        self.load = self.lookups = 0

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

    def match(self, topic: str, document: Document, size: int = MAX_EVENT_BYTES) -> list[Route]:
        """Return the routes that an event of ``size`` bytes goes to, each once, in the order they were filed.

        Raises TooCostly when some filters would take more steps than such an event may take.
        """
        filed = self._topics.match(topic)
        found: list[Route] = []
        effort = self.effort
        effort.begin(size)
        for here in filed:
            if here.plain:
                found += here.plain
            if here.few:
                event = document()
                for route in here.few:
                    try:
                        if route.passes(event, effort):
                            found.append(route)
                    except TooMuch:
                        effort.undecided.append(route)
            elif here.index is not None:
                here.index.match(document(), found)
        if len(found) > 1:
            found = sorted(dict.fromkeys(found), key=_ORDER)
        if effort.undecided or effort.overlooked:
            raise effort.too_costly(found)
        return found

    def takes(self, route: Route, topic: str, document: Document, size: int) -> bool:
        """Tell whether an event of ``size`` bytes goes to one route. Raises TooCostly as match does."""
        self.effort.begin(size)
        try:
            return route.takes(topic, document, self.effort)
        except TooMuch:
            self.effort.undecided.append(route)
            raise self.effort.too_costly([]) from None

    def compiled(self, filters: Sequence[Mapping[str, Any]]) -> list[Filter]:
        """Return filters to be asked about the event that was matched last, out of the steps it has left."""
        return [compile_filter(each, effort=self.effort) for each in filters]

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
                with self._counting(pattern, here):
                    here.add(route, conditions, self._rests, MAX_LOOKUPS - self.lookups)

    def _take_out(self, patterns: Sequence[str], route: Route, conditions: Conditions | None) -> None:
        for pattern in patterns:
            here = self._topics.get(pattern)
            if here is None:
                continue
            if conditions is None:
                take_out(here.plain or [], route)
            else:
                with self._counting(pattern, here):
                    here.remove(route, conditions)
            if here.is_empty:
                self._topics.remove(pattern)

    @contextmanager
    def _counting(self, pattern: str, here: _Filed) -> Iterator[None]:
        """Learn by what the change made within has changed what events may meet."""
        load, lookups = here.load, here.lookups
        yield
        if here.load == load and here.lookups == lookups:
            return
        shape = None if is_literal(pattern) else Shape.of(pattern)[0]
        loads, looked_up = self._peaks.setdefault(shape, (Peak(), Peak()))
        self.load += loads.change(pattern, here.load - load)
        self.lookups += looked_up.change(pattern, here.lookups - lookups)


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

    @property
    def load(self) -> int:
        """Conditions that an event has checked one by one here, at worst."""
        return 0 if self.index is None else self.index.load

    @property
    def lookups(self) -> int:
        """Values that an event is looked up by here, or conditions of few filters."""
        return self.cost if self.index is None else self.index.lookups

    def add(self, route: Route, conditions: Conditions, rests: Rests, room: int) -> None:
        """File a route with a filter, with at most ``room`` lookups more."""
        if self.index is not None:
            self.index.add(route, conditions, room)
        elif self.cost + conditions.cost <= FEW and conditions.cost <= room:
            self.few = filed_in_order(self.few, route)
            self.cost += conditions.cost
        else:
            room += self.cost
            self.index = FilterIndex(rests)
            for each in self.few or ():
                self.index.add(each, Conditions(each.filter), room - self.index.lookups)
            self.index.add(route, conditions, room - self.index.lookups)
            self.cost, self.few = 0, None

    def remove(self, route: Route, conditions: Conditions) -> None:
        """Take out a route with a filter."""
        if self.index is None:
            take_out(self.few or [], route)
            self.cost -= conditions.cost
            return
        self.index.remove(route, conditions)
        if not self.index:
            self.index = None


def _conditions_of(route: Route) -> Conditions | None:
    return Conditions(route.filter) if route.filter else None


_ORDER = attrgetter("order")
