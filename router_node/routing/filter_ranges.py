"""The routes whose filters bound the same path, by the range they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from router_node.routing.filter_elements import Many
from router_node.routing.filter_leaf import Leaf
from router_node.routing.range_tree import Range, RangeTree, Scalar
from router_node.routing.route import Route

FEW_RANGES = 8
"""Ranges that are tried one by one: most places have no more, and trees take memory."""
STEPS_OF_A_CONDITION = 8
"""Ranges, or levels of a tree, that are looked at in the time of a condition."""


class Ranges:
    """Leaves by the range that leads to them."""

    __slots__ = ("_leaves", "_spans", "_trees")

    def __init__(self) -> None:
        self._spans: list[Range] = []
        self._leaves: list[Leaf] = []
        self._trees: tuple[RangeTree[Leaf], RangeTree[Leaf]] | None = None  # of numbers, of texts

    @property
    def is_empty(self) -> bool:
        """Nothing is filed here."""
        return not self._spans and self._trees is None

    def add(self, span: Range, route: Route) -> None:
        """File a route."""
        for leaf in self._leaves_of(span):
            leaf.add(span, route)

    def remove(self, span: Range, route: Route) -> None:
        """Take out a route that is there."""
        for leaf in self._leaves_of(span):
            leaf.remove(span, route)
        self._tidy(span)

    def routes(self) -> Iterator[Route]:
        """Yield all routes, some more than once."""
        for leaf in self._leaves if self._trees is None else chain(*self._trees):
            yield from leaf.routes()

    @property
    def load(self) -> int:
        """What going through the ranges takes, in conditions."""
        steps = len(self._spans) if self._trees is None else max(tree.levels for tree in self._trees)
        return steps // STEPS_OF_A_CONDITION

    def match(self, value: Any, found: list[Route]) -> None:
        """Add to ``found`` the routes whose range holds ``value``, as it was read from an event."""
        kind = type(value)
        if kind is Many:
            for extent in value.extents:
                if extent is not None:
                    value.spend(0 if self._trees is None else self._trees[type(extent.least) is str].forks)
                    self._match(extent.least, extent.greatest, found)
        elif kind is str or kind is int or kind is float:
            self._match(value, value, found)

    def _match(self, least: Scalar, greatest: Scalar, found: list[Route]) -> None:
        text = type(least) is str
        for span, leaf in zip(self._spans, self._leaves, strict=True):
            if span.is_text() is text and span.holds(least, greatest):
                leaf.match(None, found)
        if self._trees is not None:
            tree = self._trees[text]
            for leaf in tree.at(least) if least == greatest else tree.between(least, greatest):
                leaf.match(None, found)

    def _leaves_of(self, span: Range) -> Sequence[Leaf]:
        if self._trees is None:
            if span in self._spans:
                return [self._leaves[self._spans.index(span)]]
            if len(self._spans) < FEW_RANGES:
                self._spans.append(span)
                self._leaves.append(Leaf())
                return self._leaves[-1:]
            self._trees = self._planted()
        return self._trees[span.is_text()].leaves_of(span)

    def _planted(self) -> tuple[RangeTree[Leaf], RangeTree[Leaf]]:
        """Move what is here into trees."""
        trees = RangeTree(Leaf), RangeTree(Leaf)
        for span, moving in zip(self._spans, self._leaves, strict=True):
            for leaf in trees[span.is_text()].leaves_of(span):
                leaf.take_all(moving)
        self._spans, self._leaves = [], []
        return trees

    def _tidy(self, span: Range) -> None:
        if self._trees is None:
            at = self._spans.index(span)
            if self._leaves[at].is_empty:
                del self._spans[at], self._leaves[at]
            return
        self._trees[span.is_text()].tidy(span, _is_empty)
        if all(tree.is_empty for tree in self._trees):
            self._trees = None


def _is_empty(leaf: Leaf) -> bool:
    return leaf.is_empty
