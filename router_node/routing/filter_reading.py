"""What an event has where filters look: read once per event and path, in the form that the index looks up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from router_node.routing.effort import Effort
from router_node.routing.filter_elements import Many
from router_node.routing.filter_values import MISSING, hashed, parse_path, reach

Read = Callable[[Mapping[str, Any]], Any]

NOTHING = object()
"""The value of a path that leads to nothing that could equal a scalar or lie in a range."""


def reader(text: str, effort: Effort) -> Read:
    """Return what reads a dotted path: a scalar as ``hashed`` has it, NOTHING, or Many. It raises TooMuch."""
    path = parse_path(text)

    def anywhere(document: Mapping[str, Any]) -> Any:
        return _distilled(reach(document, path, effort.spend), effort)

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


def _distilled(found: Sequence[Any], effort: Effort) -> Any:
    """Return the one scalar among what a path leads to, elements of arrays included, or all of them."""
    if len(found) == 1 and type(found[0]) is list:
        several = effort.elements(found[0])
        return several if len(several.keys) > 1 else next(iter(several.keys), NOTHING)
    effort.spend(len(found))
    keys: set[Hashable] = set()
    for value in found:
        if type(value) is list:
            several = effort.elements(value)
            effort.spend(len(several.keys))
            keys |= several.keys
        elif value is MISSING or not isinstance(value, (list, dict)):
            keys.add(hashed(value))
    if len(keys) > 1:
        return Many(keys, effort.spend)
    return keys.pop() if keys else NOTHING
