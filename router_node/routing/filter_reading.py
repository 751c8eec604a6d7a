"""What an event has where filters look: read once per event and path, in the form that the index looks up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from router_node.routing.filter_values import MISSING, hashed, parse_path, reach

Scalar = str | int | float
Read = Callable[[Mapping[str, Any]], Any]

_PLAIN = frozenset({str, int, float})

NOTHING = object()
"""The value of a path that leads to nothing that could equal a scalar or lie in a range."""


class Extent(NamedTuple):
    """The least and the greatest of several values."""

    least: Scalar
    greatest: Scalar


class Many:
    """What a path through or to arrays leads to, when it is more than one scalar."""

    __slots__ = ("_extents", "keys")

    def __init__(self, keys: set[Hashable]) -> None:
        self.keys = keys
        self._extents: tuple[Extent | None, Extent | None] | None = None

    @property
    def extents(self) -> tuple[Extent | None, Extent | None]:
        """The extent of the numbers, and of the texts; None where there are none."""
        if self._extents is None:
            numbers = [key for key in self.keys if type(key) is int or type(key) is float]
            texts = [key for key in self.keys if type(key) is str] if len(numbers) < len(self.keys) else []
            self._extents = _extent(numbers), _extent(texts)
        return self._extents


def reader(text: str) -> Read:
    """Return what reads a dotted path: a scalar as ``hashed`` has it, NOTHING, or Many."""
    path = parse_path(text)

    def anywhere(document: Mapping[str, Any]) -> Any:
        return _distilled(reach(document, path))

    if len(path) > 2:
        return anywhere
    first, second = path[0][0], path[-1][0]

    def in_document(document: Mapping[str, Any]) -> Any:
        value = document.get(first)
        kind = type(value)
        return value if kind is str or kind is int or kind is float or value is None else anywhere(document)

    def in_member(document: Mapping[str, Any]) -> Any:
        inner = document.get(first)
        if type(inner) is not dict:
            return anywhere(document)
        value = inner.get(second)
        kind = type(value)
        return value if kind is str or kind is int or kind is float or value is None else anywhere(document)

    return in_document if len(path) == 1 else in_member


def _distilled(found: Sequence[Any]) -> Any:
    """Return the one scalar among what a path leads to, elements of arrays included, or all of them."""
    keys: set[Hashable] = set()
    for value in found:
        if type(value) is list:
            keys.update(value if _PLAIN.issuperset(map(type, value)) else _scalars(value))
        elif value is MISSING or not isinstance(value, (list, dict)):
            keys.add(hashed(value))
    if len(keys) > 1:
        return Many(keys)
    return keys.pop() if keys else NOTHING


def _scalars(values: Sequence[Any]) -> Iterator[Hashable]:
    return (hashed(each) for each in values if not isinstance(each, (list, dict)))


def _extent(values: Sequence[Any]) -> Extent | None:
    return Extent(min(values), max(values)) if values else None
