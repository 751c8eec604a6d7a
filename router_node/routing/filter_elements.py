"""What an array, or a path through arrays, has for those who look values up: each once, and how far they reach."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from router_node.routing.filter_values import hashed

Scalar = str | int | float

_PLAIN = frozenset({str, int, float})


class Extent(NamedTuple):
    """The least and the greatest of several values."""

    least: Scalar
    greatest: Scalar


class Many:
    """Several scalars as ``hashed`` has them. ``spend`` hears what comparing them with other things costs."""

    __slots__ = ("_extents", "keys", "spend")

    def __init__(self, keys: set[Hashable], spend: Callable[[int], None]) -> None:
        self.keys = keys
        self.spend = spend
        self._extents: tuple[Extent | None, Extent | None] | None = None

    @property
    def extents(self) -> tuple[Extent | None, Extent | None]:
        """The extent of the numbers, and of the texts; None where there are none."""
        if self._extents is None:
            numbers = [key for key in self.keys if type(key) is int or type(key) is float]
            texts = [key for key in self.keys if type(key) is str] if len(numbers) < len(self.keys) else []
            self._extents = _extent(numbers), _extent(texts)
        return self._extents


def scalars_of(array: Sequence[Any]) -> set[Hashable]:
    """Return the scalars among the elements of an array, as ``hashed`` has them."""
    if _PLAIN.issuperset(map(type, array)):
        return set(array)
    return {hashed(each) for each in array if not isinstance(each, (list, dict))}


def _extent(values: Sequence[Any]) -> Extent | None:
    return Extent(min(values), max(values)) if values else None
