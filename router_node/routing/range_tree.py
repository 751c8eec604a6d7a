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
from collections.abc import Callable, Iterator
from itertools import chain
from struct import pack
from typing import Generic, NamedTuple, TypeVar

Scalar = str | int | float
Edge = tuple[Scalar, int]
L = TypeVar("L")

TEXT_CHARS = 16
"""Of texts, this much decides where in the tree a range with two bounds is filed."""
_SIGN, _ALL = 1 << 63, (1 << 64) - 1


class Range(NamedTuple):
    """The values from ``low`` to ``high``, both numbers or both texts; None leaves a side open.

    A bound lies before its value or, when its ``after`` is 1, after it: 0 is for ``$gte`` and ``$lt``, 1 for ``$gt``
    and ``$lte``.
    """

    low: Scalar | None = None
    low_after: int = 0
    high: Scalar | None = None
    high_after: int = 0

    def can_be_filed(self) -> bool:
        """Tell whether it is open to one side, or has bounds of one kind, which the tree can tell apart, in order."""
        low, high = self.low, self.high
        if low is None or high is None:
            return True
        return (type(low) is str) is (type(high) is str) and place_of(low) < place_of(high)

    def is_text(self) -> bool:
        """Tell whether it is a range of texts, not of numbers."""
        return type(self.high if self.low is None else self.low) is str

    def holds(self, least: Scalar, greatest: Scalar) -> bool:
        """Tell whether ``greatest`` satisfies the lower bound and ``least`` the upper one; they are of its kind.

        That is what several values in an event do, of which any may satisfy either.
        """
        low, low_after, high, high_after = self
        if low is not None and (greatest <= low if low_after else greatest < low):  # type: ignore[operator]
            return False
        return high is None or (least <= high if high_after else least < high)  # type: ignore[operator]


def place_of(value: Scalar) -> int:
    """Map numbers, and texts, to integers so that the order is kept; values close together may share one."""
    if isinstance(value, str):
        return int.from_bytes(
            value[:TEXT_CHARS].encode("utf-32-be", "surrogatepass").ljust(4 * TEXT_CHARS, b"\0"), "big"
        )
    try:
        number = float(value) + 0.0  # there is no -0.0 then
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    bits = int.from_bytes(pack(">d", number), "big")
    return bits ^ _ALL if bits & _SIGN else bits | _SIGN


class RangeTree(Generic[L]):
    """Leaves by the ranges that lead to them, which are of one kind, numbers or texts, and open to one side at most."""

    __slots__ = ("_forks", "_from", "_levels", "_make", "_to")

    def __init__(self, make: Callable[[], L]) -> None:
        self._make = make
        self._from: _Edges[L] = _Edges()
        self._to: _Edges[L] = _Edges()
        self._forks: dict[tuple[int, int], tuple[_Edges[L], _Edges[L]]] = {}
        self._levels: Counter[int] = Counter()

    @property
    def is_empty(self) -> bool:
        """Nothing is filed."""
        return not (self._from.edges or self._to.edges or self._forks)

    @property
    def levels(self) -> int:
        """How many levels a value passes."""
        return len(self._levels)

    @property
    def forks(self) -> int:
        """How many nodes several values pass."""
        return len(self._forks)

    def __iter__(self) -> Iterator[L]:
        """Yield the leaves, each once."""
        yield from chain(self._from.leaves, self._to.leaves)
        for lows, _ in self._forks.values():
            yield from lows.leaves

    def leaves_of(self, span: Range) -> list[L]:
        """Return the leaves of a range, made when they are not there: whatever is filed goes into each of them."""
        return [side.leaf(edge, self._make) for side, edge in self._sides(span)]

    def tidy(self, span: Range, is_empty: Callable[[L], bool]) -> None:
        """Forget the leaves of a range that are empty."""
        for side, edge in self._sides(span):
            side.tidy(edge, is_empty)
        if span.low is not None and span.high is not None:
            node = _fork(span.low, span.high)
            if not self._forks[node][0].edges:
                del self._forks[node]
                self._levels -= Counter([node[0]])

    def at(self, value: Scalar) -> list[L]:
        """Return the leaves of the ranges that ``value`` lies in, one of each."""
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

    def between(self, least: Scalar, greatest: Scalar) -> list[L]:
        """Return the leaves of the ranges that hold two values, see Range.holds. It looks at each node."""
        found = self._from.below(greatest) + self._to.above(least)
        first, last = place_of(least), place_of(greatest)
        for (level, prefix), (lows, highs) in self._forks.items():
            middle = (prefix << level) + (1 << level - 1)
            found += lows.below(greatest) if last < middle else highs.above(least) if middle <= first else lows.leaves
        return found

    def _sides(self, span: Range) -> list[tuple[_Edges[L], Edge]]:
        low, low_after, high, high_after = span
        if high is None:
            return [] if low is None else [(self._from, (low, low_after))]
        if low is None:
            return [(self._to, (high, high_after))]
        node = _fork(low, high)
        fork = self._forks.get(node)
        if fork is None:
            fork = self._forks[node] = _Edges(), _Edges()
            self._levels[node[0]] += 1
        return [(fork[0], (low, low_after)), (fork[1], (high, high_after))]


class _Edges(Generic[L]):
    """Leaves by their bound, in order."""

    __slots__ = ("edges", "leaves")

    def __init__(self) -> None:
        self.edges: list[Edge] = []
        self.leaves: list[L] = []

    def leaf(self, edge: Edge, make: Callable[[], L]) -> L:
        at = bisect_left(self.edges, edge)
        if at == len(self.edges) or self.edges[at] != edge:
            self.edges.insert(at, edge)
            self.leaves.insert(at, make())
        return self.leaves[at]

    def tidy(self, edge: Edge, is_empty: Callable[[L], bool]) -> None:
        at = bisect_left(self.edges, edge)
        if is_empty(self.leaves[at]):
            del self.edges[at], self.leaves[at]

    def below(self, value: Scalar) -> list[L]:
        """Return the leaves whose bound, a lower one, ``value`` satisfies."""
        return self.leaves[: bisect_right(self.edges, (value, 0))]

    def above(self, value: Scalar) -> list[L]:
        """Return the leaves whose bound, an upper one, ``value`` satisfies."""
        return self.leaves[bisect_left(self.edges, (value, 1)) :]


def _fork(low: Scalar, high: Scalar) -> tuple[int, int]:
    """Return the node of the tree where two bounds part: its level, and what all places below it begin with."""
    first, last = place_of(low), place_of(high)
    level = (first ^ last).bit_length()
    return level, first >> level
