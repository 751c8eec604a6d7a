"""Where the index ends: routes in the order they were filed."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from operator import attrgetter

from router_node.routing.route import Route

_ORDER = attrgetter("order")


class Leaf:
    """Routes that nothing tells apart."""

    __slots__ = ("_routes",)

    def __init__(self) -> None:
        self._routes: list[Route] | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is filed here."""
        return not self._routes

    def add(self, _: object, route: Route) -> None:
        """File a route, whatever its range."""
        self._routes = filed_in_order(self._routes, route)

    def take_all(self, other: Leaf) -> None:
        """File all routes of another leaf."""
        for route in other._routes or ():
            self.add(None, route)

    def remove(self, _: object, route: Route) -> None:
        """Take out a route that is there."""
        take_out(self._routes or [], route)

    def routes(self) -> Iterable[Route]:
        """Return all routes."""
        return self._routes or ()

    @property
    def load(self) -> int:
        """What finding them takes, in conditions."""
        return 0

    def match(self, _: object, found: list[Route]) -> None:
        """Add all routes to ``found``."""
        if self._routes:
            found += self._routes


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
