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


COMPILED_LATER = 4
"""Conditions that are compiled when an event first needs them; more are when they are filed, so that no event waits."""


class Rest:
    """A part of filters that is checked on the event; ``cost`` is in conditions."""

    __slots__ = ("__weakref__", "_spec", "_test", "cost")

    def __init__(self, spec: Mapping[str, Any], cost: int) -> None:
        self._spec = spec
        self._test: Test | None = compile_filter(spec).matches if cost > COMPILED_LATER else None
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
    """Routes in the order they were filed, those that leave something to check by what that is.

    ``load`` is how many conditions those checks are in all. A leaf is made for next to nothing: most have one route.
    """

    __slots__ = ("_rests", "_routes", "load")

    def __init__(self) -> None:
        self._routes: list[Route] | None = None
        self._rests: dict[Rest, list[Route]] | None = None
        self.load = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is filed here."""
        return not self._routes and not self._rests

    def add(self, _: object, route: Route, rest: Rest | None) -> None:
        """File a route."""
        if rest is None:
            self._routes = filed_in_order(self._routes, route)
            return
        if self._rests is None:
            self._rests = {}
        if rest not in self._rests:
            self.load += rest.cost
        self._rests[rest] = filed_in_order(self._rests.get(rest), route)

    def take_all(self, other: Leaf) -> None:
        """File all routes of another leaf."""
        for route in other._routes or ():
            self.add(None, route, None)
        for rest, routes in (other._rests or {}).items():
            for route in routes:
                self.add(None, route, rest)

    def remove(self, _: object, route: Route, rest: Rest | None) -> None:
        """Take out a route that is there."""
        if rest is None:
            take_out(self._routes or [], route)
        elif self._rests is not None:
            take_out(self._rests[rest], route)
            if not self._rests[rest]:
                del self._rests[rest]
                self.load -= rest.cost

    def match(self, _: object, document: Mapping[str, Any], found: list[Route]) -> None:
        """Add to ``found`` the routes that an event which came here goes to."""
        if self._routes:
            found += self._routes
        if self._rests:
            for rest, routes in self._rests.items():
                if rest.passes(document):
                    found += routes


def filed_in_order(routes: list[Route] | None, route: Route) -> list[Route]:
    """Put a route where it belongs among others, mostly at the end; a list of one is made as small as can be."""
    if not routes:
        return [route]
    if routes[-1].order < route.order:
        routes.append(route)
    else:
        insort(routes, route, key=_ORDER)
    return routes


def take_out(routes: list[Route], route: Route) -> None:
    """Remove a route that is among others."""
    del routes[bisect_left(routes, route.order, key=_ORDER)]
