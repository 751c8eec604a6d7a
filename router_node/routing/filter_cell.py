"""Where the look-up of a group leads to: routes by what of their filters is still to be checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from router_node.routing.effort import Effort, TooMuch
from router_node.routing.filter_compilation import Test
from router_node.routing.filter_language import compile_filter
from router_node.routing.filter_leaf import Leaf
from router_node.routing.filter_ranges import Ranges
from router_node.routing.range_tree import Range
from router_node.routing.route import Route

COMPILED_LATER = 4
"""Conditions that are compiled when an event first needs them; more are when they are filed, so that no event waits."""


class Rest:
    """A part of filters that is checked on the event; ``cost`` is in conditions.

    ``test`` tells whether an event object passes, and may raise TooMuch of the effort; it is None until it is compiled.
    """

    __slots__ = ("__weakref__", "_effort", "_spec", "cost", "test")

    def __init__(self, spec: Mapping[str, Any], cost: int, effort: Effort) -> None:
        self.cost = cost
        self._spec = spec
        self._effort = effort
        self.test: Test | None = None
        if cost > COMPILED_LATER:
            self.compiled()

    def compiled(self) -> Test:
        """Return the test, compiled if it is not."""
        self.test = compile_filter(self._spec, effort=self._effort).matches
        return self.test


class Rests:
    """Keeps one Rest of each kind: thousands of filters that share what an index cannot decide share its check."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self._known: WeakValueDictionary[str, Rest] = WeakValueDictionary()

    def of(self, spec: Mapping[str, Any], cost: int) -> Rest | None:
        """Return the check of a valid filter, None of an empty one."""
        if not spec:
            return None
        text = repr(spec)  # unlike JSON, it has a form for half a surrogate pair
        rest = self._known.get(text)
        if rest is None:
            rest = self._known[text] = Rest(spec, cost, self.effort)
        return rest


class Cell:
    """Routes that are found once an event has certain values, and passes what is left to check: once for all with that.

    ``load`` is how many conditions those checks are in all; an event that comes here meets each. A cell is made for
    next to nothing: most have one route.
    """

    __slots__ = ("_rests", "_sure", "load")

    def __init__(self) -> None:
        self._sure: Leaf | Ranges | None = None
        self._rests: dict[Rest, Leaf | Ranges] | None = None
        self.load = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is filed here."""
        return self._sure is None and not self._rests

    def add(self, span: Range, route: Route, rest: Rest | None, make: Callable[[], Leaf | Ranges]) -> None:
        """File a route; ``make`` makes what tells ranges apart, or does not."""
        if rest is None:
            if self._sure is None:
                self._sure = make()
            self.load -= self._sure.load
            self._sure.add(span, route)
            self.load += self._sure.load
            return
        if self._rests is None:
            self._rests = {}
        here = self._rests.get(rest)
        if here is None:
            here = self._rests[rest] = make()
            self.load += rest.cost
        self.load -= here.load
        here.add(span, route)
        self.load += here.load

    def remove(self, span: Range, route: Route, rest: Rest | None) -> None:
        """Take out a route that is there."""
        here = self._sure if rest is None else self._rests and self._rests.get(rest)
        if not here:
            return
        self.load -= here.load
        here.remove(span, route)
        self.load += here.load
        if not here.is_empty:
            return
        if rest is None:
            self._sure = None
        elif self._rests is not None:
            del self._rests[rest]
            self.load -= rest.cost

    def routes(self) -> Iterator[Route]:
        """Yield all routes, some more than once."""
        for here in ([self._sure] if self._sure else []) + list((self._rests or {}).values()):
            yield from here.routes()

    def match(self, value: Any, document: Mapping[str, Any], found: list[Route], effort: Effort) -> None:
        """Add to ``found`` the routes of an event that came here, with ``value`` where the ranges look.

        What the effort does not allow to check is among its undecided then.
        """
        if self._sure is not None:
            self._sure.match(value, found)
        if self._rests:
            for rest, here in self._rests.items():
                test = rest.test or rest.compiled()
                try:
                    passes = test(document)
                except TooMuch:
                    here.match(value, effort.undecided)
                    continue
                if passes:
                    here.match(value, found)
