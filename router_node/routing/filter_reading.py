"""What an event has where filters look: read once per event and path, in the form that the index looks up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from router_node.routing.filter_values import MISSING, hashed, parse_path, reach

Scalar = str | int | float
Read = Callable[[Mapping[str, Any]], Any]

NOTHING = object()
"""The value of a path that leads to nothing that could equal a scalar or lie in a range."""


class Extent(NamedTuple):
    """The least and the greatest of several values."""

    least: Scalar
    greatest: Scalar


class Many:
    """What a path through or to arrays leads to, when it is more than one scalar."""

    __slots__ = ("keys", "numbers", "texts")

    def __init__(self, keys: set[Hashable]) -> None:
        self.keys = keys
        self.numbers = _extent([key for key in keys if type(key) in (int, float)])
        self.texts = _extent([key for key in keys if type(key) is str])


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
            keys.update(hashed(each) for each in value if not isinstance(each, (list, dict)))
        elif value is MISSING or not isinstance(value, (list, dict)):
            keys.add(hashed(value))
    if len(keys) > 1:
        return Many(keys)
    return keys.pop() if keys else NOTHING


def _extent(values: Sequence[Any]) -> Extent | None:
    return Extent(min(values), max(values)) if values else None
