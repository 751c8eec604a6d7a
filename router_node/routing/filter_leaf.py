"""Where the index ends: the routes that a look-up leads to, and what of their filters it has not decided."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from operator import attrgetter
from typing import Any
from weakref import WeakValueDictionary

from router_node.routing.filter_compilation import Test
from router_node.routing.filter_language import compile_filter
from router_node.routing.route import Route

_ORDER = attrgetter("order")


class Rest:
    """A part of filters that is checked on the event, compiled when first needed; ``cost`` is in conditions."""

    __slots__ = ("__weakref__", "_spec", "_test", "cost")

    def __init__(self, spec: Mapping[str, Any], cost: int) -> None:
        self._spec = spec
        self._test: Test | None = None
        self.cost = cost

    def passes(self, document: Mapping[str, Any]) -> bool:
        """Tell whether an event object passes."""
        if self._test is None:
            self._test = compile_filter(self._spec).matches
        return self._test(document)


class Rests:
    """Keeps one Rest of each kind: thousands of filters that share what an index cannot decide share its check."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, Rest] = WeakValueDictionary()

    def of(self, spec: Mapping[str, Any], cost: int) -> Rest | None:
        """Return the check of a valid filter, None of an empty one."""
        if not spec:
            return None
        text = repr(spec)  # unlike JSON, it has a form for half a surrogate pair
        rest = self._known.get(text)
        if rest is None:
            rest = self._known[text] = Rest(spec, cost)
        return rest


class Leaf:
    """Routes in the order they were filed, those that leave something to check by what that is."""

    __slots__ = ("_rests", "_routes")

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._rests: dict[Rest, list[Route]] | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is filed here."""
        return not self._routes and not self._rests

    def add(self, route: Route, rest: Rest | None) -> int:
        """File a route; returns what its check adds to the work of an event that comes here."""
        if rest is None:
            file_in_order(self._routes, route)
            return 0
        if self._rests is None:
            self._rests = {}
        sharing = self._rests.get(rest)
        if sharing is None:
            self._rests[rest] = [route]
            return rest.cost
        file_in_order(sharing, route)
        return 0

    def remove(self, route: Route, rest: Rest | None) -> int:
        """Take out a route that is there; returns by what the work changes."""
        if rest is None or self._rests is None:
            take_out(self._routes, route)
            return 0
        take_out(self._rests[rest], route)
        if self._rests[rest]:
            return 0
        del self._rests[rest]
        return -rest.cost

    def match(self, document: Mapping[str, Any], found: list[Route]) -> None:
        """Add to ``found`` the routes that an event which came here goes to."""
        found += self._routes
        if self._rests:
            for rest, routes in self._rests.items():
                if rest.passes(document):
                    found += routes


def file_in_order(routes: list[Route], route: Route) -> None:
    """Put a route where it belongs among others; mostly at the end."""
    if not routes or routes[-1].order < route.order:
        routes.append(route)
    else:
        insort(routes, route, key=_ORDER)


def take_out(routes: list[Route], route: Route) -> None:
    """Remove a route that is among others."""
    del routes[bisect_left(routes, route.order, key=_ORDER)]
