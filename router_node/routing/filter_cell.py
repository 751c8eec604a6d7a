"""Where the look-up of a group leads to: routes by what of their filters is still to be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from router_node.routing.filter_compilation import Test
from router_node.routing.filter_language import compile_filter
from router_node.routing.filter_leaf import Leaf
from router_node.routing.filter_ranges import Ranges
from router_node.routing.range_tree import Range
from router_node.routing.route import Route

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
            self._sure.add(span, route)
            return
        if self._rests is None:
            self._rests = {}
        here = self._rests.get(rest)
        if here is None:
            here = self._rests[rest] = make()
            self.load += rest.cost
        here.add(span, route)

    def remove(self, span: Range, route: Route, rest: Rest | None) -> None:
        """Take out a route that is there."""
        here = self._sure if rest is None else self._rests and self._rests.get(rest)
        if not here:
            return
        here.remove(span, route)
        if not here.is_empty:
            return
        if rest is None:
            self._sure = None
        elif self._rests is not None:
            del self._rests[rest]
            self.load -= rest.cost

    def match(self, value: Any, document: Mapping[str, Any], found: list[Route]) -> None:
        """Add to ``found`` the routes of an event that came here, with ``value`` where the ranges look."""
        if self._sure is not None:
            self._sure.match(value, found)
        if self._rests:
            for rest, here in self._rests.items():
                if rest.passes(document):
                    here.match(value, found)
