"""Ranges filed so that a value finds those it lies in, without looking at the others.

A range with one bound is found by bisection among its like. One with two is filed, as in the relational interval tree
(Kriegel, Poetke, Seidl: Managing Intervals Efficiently in Object-Relational Databases, VLDB 2000), at the node of a
virtual binary tree over all values where its bounds part ways. A value passes one node of each level; at each, what
is left to ask is one bound.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from struct import pack
from typing import Any, NamedTuple

from router_node.routing.filter_leaf import Leaf
from router_node.routing.filter_reading import Many, Scalar

TEXT_BYTES = 32
"""Of texts, this much decides where in the tree a range with two bounds is filed."""
_SIGN, _ALL = 1 << 63, (1 << 64) - 1


class Edge(NamedTuple):
    """A bound. As a lower one it lies below all values above it, and so as an upper one: ``after`` is 0 for ``$gte``
    and ``$lt``, which part before the value itself, and 1 for ``$gt`` and ``$lte``, which part after it.
    """

    value: Scalar
    after: int


class Range(NamedTuple):
    """The values between two edges, of which one or both may be open."""

    low: Edge | None = None
    high: Edge | None = None

    def can_be_filed(self) -> bool:
        """Tell whether it is open to one side, or has bounds of one kind, which the tree can tell apart, in order."""
        if self.low is None or self.high is None:
            return True
        low, high = self.low.value, self.high.value
        return (type(low) is str) is (type(high) is str) and place_of(low) < place_of(high)

    @property
    def is_text(self) -> bool:
        """It is a range of texts, not of numbers."""
        edge = self.low or self.high
        return edge is not None and type(edge.value) is str


EVERYTHING = Range()


def place_of(value: Scalar) -> int:
    """Map numbers, and texts, to integers so that the order is kept; values close together may share one."""
    if isinstance(value, str):
        start = value[:TEXT_BYTES].encode("utf-8", "surrogatepass")[:TEXT_BYTES]
        return int.from_bytes(start.ljust(TEXT_BYTES, b"\0"), "big")
    try:
        number = float(value) + 0.0  # there is no -0.0 then
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    bits = int.from_bytes(pack(">d", number), "big")
    return bits ^ _ALL if bits & _SIGN else bits | _SIGN


class Ranges:
    """Leaves by the range that leads to them, all on one path."""

    __slots__ = ("_numbers", "_texts")

    def __init__(self) -> None:
        self._numbers: _Ranges | None = None
        self._texts: _Ranges | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is filed here."""
        return self._numbers is None and self._texts is None

    def leaves_of(self, span: Range) -> Sequence[Leaf]:
        """Return the leaves of a range, made when they are not there: whatever is filed goes into each of them."""
        if span.is_text:
            self._texts = self._texts or _Ranges()
            return self._texts.leaves_of(span)
        self._numbers = self._numbers or _Ranges()
        return self._numbers.leaves_of(span)

    def tidy(self, span: Range) -> None:
        """Forget the leaves of a range that are empty."""
        ranges = self._texts if span.is_text else self._numbers
        if ranges is None:
            return
        ranges.tidy(span)
        if ranges.is_empty:
            if span.is_text:
                self._texts = None
            else:
                self._numbers = None

    def reached(self, value: Any) -> Sequence[Leaf]:
        """Return the leaves whose range holds a value read from an event: of each range one leaf."""
        if type(value) is Many:
            numbers = self._numbers.between(*value.numbers) if self._numbers and value.numbers else []
            return numbers + (self._texts.between(*value.texts) if self._texts and value.texts else [])
        ranges = self._texts if type(value) is str else self._numbers if type(value) in (int, float) else None
        return ranges.at(value) if ranges else []


class _Ranges:
    """Ranges of one kind, numbers or texts."""

    __slots__ = ("_forks", "_from", "_levels", "_to")

    def __init__(self) -> None:
        self._from = _Edges()
        self._to = _Edges()
        self._forks: dict[tuple[int, int], tuple[_Edges, _Edges]] = {}
        self._levels: Counter[int] = Counter()

    @property
    def is_empty(self) -> bool:
        return not (self._from.edges or self._to.edges or self._forks)

    def leaves_of(self, span: Range) -> Sequence[Leaf]:
        if span.low is None or span.high is None:
            return [self._from.leaf(span.low) if span.low else self._to.leaf(span.high)]  # type: ignore[arg-type]
        node = _fork(span.low, span.high)
        if node not in self._forks:
            self._forks[node] = _Edges(), _Edges()
            self._levels[node[0]] += 1
        lows, highs = self._forks[node]
        return lows.leaf(span.low), highs.leaf(span.high)

    def tidy(self, span: Range) -> None:
        if span.low is None or span.high is None:
            if span.low:
                self._from.tidy(span.low)
            elif span.high:
                self._to.tidy(span.high)
            return
        node = _fork(span.low, span.high)
        lows, highs = self._forks[node]
        lows.tidy(span.low)
        highs.tidy(span.high)
        if not lows.edges:
            del self._forks[node]
            self._levels -= Counter([node[0]])

    def at(self, value: Scalar) -> list[Leaf]:
        """Return the leaves of the ranges that ``value`` lies in."""
        found = self._from.below(value) + self._to.above(value)
        if self._forks:
            place = place_of(value)
            for level in self._levels:
                fork = self._forks.get((level, place >> level))
                if fork is not None:
                    # The node's middle is the lowest place of its right half: the upper bounds are there, the lower
                    # ones before it, each surely on the other side of a value on this side.
                    found += fork[1].above(value) if place >> (level - 1) & 1 else fork[0].below(value)
        return found

    def between(self, least: Scalar, greatest: Scalar) -> list[Leaf]:
        """Return the leaves of the ranges whose lower bound ``greatest`` satisfies, and ``least`` the upper one.

        That is what several values in an event do, of which any may satisfy either. It looks at each node.
        """
        found = self._from.below(greatest) + self._to.above(least)
        first, last = place_of(least), place_of(greatest)
        for (level, prefix), (lows, highs) in self._forks.items():
            middle = (prefix << level) + (1 << level - 1)
            found += lows.below(greatest) if last < middle else highs.above(least) if middle <= first else lows.leaves
        return found


class _Edges:
    """Leaves by their edge, in order."""

    __slots__ = ("edges", "leaves")

    def __init__(self) -> None:
        self.edges: list[Edge] = []
        self.leaves: list[Leaf] = []

    def leaf(self, edge: Edge) -> Leaf:
        at = bisect_left(self.edges, edge)
        if at == len(self.edges) or self.edges[at] != edge:
            self.edges.insert(at, edge)
            self.leaves.insert(at, Leaf())
        return self.leaves[at]

    def tidy(self, edge: Edge) -> None:
        at = bisect_left(self.edges, edge)
        if self.leaves[at].is_empty:
            del self.edges[at], self.leaves[at]

    def below(self, value: Scalar) -> list[Leaf]:
        """Return the leaves whose edge, a lower bound, ``value`` satisfies."""
        return self.leaves[: bisect_right(self.edges, (value, 0))]

    def above(self, value: Scalar) -> list[Leaf]:
        """Return the leaves whose edge, an upper bound, ``value`` satisfies."""
        return self.leaves[bisect_left(self.edges, (value, 1)) :]


def _fork(low: Edge, high: Edge) -> tuple[int, int]:
    """Return the node of the tree where two bounds part: its level, and what all places below it begin with."""
    first, last = place_of(low.value), place_of(high.value)
    level = (first ^ last).bit_length()
    return level, first >> level
