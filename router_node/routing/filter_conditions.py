"""A filter taken apart: which of its conditions an index can decide by looking them up, and what is left to check.

A filter's top level is a conjunction, also of the operators of one path and of what is inside ``$and``: each condition
holds or fails by itself. An index decides equality with scalars, and for one path a lower and an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from router_node.routing.filter_compilation import MAX_CONDITIONS, MAX_LIST, has_operators
from router_node.routing.filter_language import compile_filter
from router_node.routing.filter_values import PLAIN_STEPS, hashed
from router_node.routing.range_tree import Range

MAX_EQUALITIES = 8
"""Paths of one filter that an index looks up together; the others are checked."""
MAX_COMBINATIONS = 16
"""Places that a filter with ``$in`` beside other conditions is filed in; the longer lists are checked."""
MAX_STEPS = 8
"""Steps of a path that an index follows."""

EVERYTHING = Range()
_SCALARS = (str, int, float, bool, type(None))
_COMPARABLE = (str, int, float)
_COMPARISONS = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})
_LOW = {"$gte": 0, "$gt": 1}
_HIGH = {"$lt": 0, "$lte": 1}

Spec = Mapping[str, Any]
_Part = tuple[str, Any]


class Signature(NamedTuple):
    """What kind of filters are filed together: those that fix these paths, and bound that one."""

    paths: tuple[str, ...]
    ranged: str | None = None


class Filed(NamedTuple):
    """Where a filter is filed in a group, and what of it is then still to be checked, with what that costs."""

    keys: Sequence[Hashable]
    range: Range
    rest: Spec
    cost: int


class Conditions:
    """The conditions of a filter. ``cost`` is how many there are; regular expressions count for more."""

    __slots__ = ("_equal", "_others", "_ranges", "cost")

    def __init__(self, spec: Spec) -> None:
        """Take a filter apart. Raises InvalidInput as compile_filter does, which is called only when need be."""
        self.cost = _simple_cost(spec) or compile_filter(spec).cost
        self._equal: dict[str, tuple[_Part, Sequence[Hashable]]] = {}
        self._ranges: dict[str, tuple[Range, list[_Part]]] = {}
        self._others: list[_Part] = []
        self._take(spec)

    def signature(self) -> Signature:
        """Return the group that decides most of it."""
        paths: list[str] = []
        combinations = 1
        for choices, path in sorted([(len(values), path) for path, (_, values) in self._equal.items()]):
            combinations *= choices
            if paths and (combinations > MAX_COMBINATIONS or len(paths) == MAX_EQUALITIES):
                break
            paths.append(path)
        return Signature(tuple(sorted(paths)), min(self._ranges, key=self._width) if self._ranges else None)

    def fits(self, signature: Signature) -> bool:
        """Tell whether it can be filed in a group of that kind, at a few places."""
        if not self._equal.keys() >= set(signature.paths):
            return False
        places = math.prod(len(self._equal[path][1]) for path in signature.paths)
        return places <= MAX_COMBINATIONS and (signature.ranged is None or signature.ranged in self._ranges)

    def filed(self, signature: Signature) -> Filed:
        """Return where it goes in a group that it fits."""
        paths, ranged = signature
        values = [self._equal[path][1] for path in paths]
        keys = values[0] if len(values) == 1 else list(product(*values))
        rest = self._others + [part for path, (part, _) in self._equal.items() if path not in paths]
        for path, (_, parts) in self._ranges.items():
            if path != ranged:
                rest += parts
        decided = len(paths) + (0 if ranged is None else len(self._ranges[ranged][1]))
        span = EVERYTHING if ranged is None else self._ranges[ranged][0]
        return Filed(keys, span, _joined(rest), max(1, self.cost - decided))

    def _width(self, path: str) -> tuple[bool, str]:
        """Order ranges: bounded on both sides first, and else in any fixed order."""
        span = self._ranges[path][0]
        return span.low is None or span.high is None, path

    def _take(self, spec: Spec) -> None:
        for key, value in spec.items():
            if key == "$and":
                for part in value:
                    self._take(part)
            elif key.startswith("$"):
                self._others.append((key, value))
            elif not has_operators(value):
                self._take_operator(key, "$eq", value, (key, value))
            else:
                for each in _each(value):
                    name = next(iter(each))
                    self._take_operator(key, name, each[name], (key, each))

    def _take_operator(self, path: str, name: str, operand: Any, part: _Part) -> None:
        if path.count(".") >= MAX_STEPS:
            self._others.append(part)
        elif name in ("$eq", "$in") and path not in self._equal and (values := _alternatives(name, operand)):
            self._equal[path] = part, values
        elif not (name in _LOW or name in _HIGH) or not self._bound(path, name, operand, part):
            self._others.append(part)

    def _bound(self, path: str, name: str, operand: Any, part: _Part) -> bool:
        """Take one bound of a path, if it can be looked up beside the other."""
        if type(operand) not in _COMPARABLE:
            return False
        known, parts = self._ranges.get(path, (EVERYTHING, []))
        low, low_after, high, high_after = known
        if name in _LOW and low is None:
            wider = Range(operand, _LOW[name], high, high_after)
        elif name in _HIGH and high is None:
            wider = Range(low, low_after, operand, _HIGH[name])
        else:
            return False
        if not wider.can_be_filed():
            return False
        parts.append(part)
        self._ranges[path] = wider, parts
        return True


def _simple_cost(spec: Spec) -> int:
    """Count the conditions of a filter of nothing but equalities and comparisons with scalars, which is surely valid.

    Of any other it returns 0.
    """
    cost = 0
    for path, value in spec.items():
        if type(path) is not str or path[:1] == "$":
            return 0
        if type(value) is dict:
            if not value or not all(map(_is_simple, value.keys(), value.values())):
                return 0
            cost += len(value)
        elif _is_scalar(value):
            cost += 1
        else:
            return 0
        cost += max(0, path.count(".") + 1 - PLAIN_STEPS)
    return cost if cost <= MAX_CONDITIONS else 0


def _is_simple(name: object, operand: Any) -> bool:
    if name == "$in":
        return type(operand) is list and len(operand) <= MAX_LIST and all(map(_is_scalar, operand))
    return name in _COMPARISONS and _is_scalar(operand)


def _is_scalar(value: Any) -> bool:
    return type(value) in _SCALARS and (type(value) is not float or math.isfinite(value))


def _each(operators: Spec) -> Iterator[Spec]:
    """Yield the operators of a path one by one; ``$options`` goes with its ``$regex``."""
    if len(operators) == 1:
        yield operators
        return
    for name, operand in operators.items():
        if name == "$regex" and "$options" in operators:
            yield {name: operand, "$options": operators["$options"]}
        elif name != "$options":
            yield {name: operand}


def _alternatives(name: str, operand: Any) -> Sequence[Hashable]:
    """Return the keys of the scalars one of which is wanted; none when that is no matter of scalars."""
    if name == "$eq":
        return (hashed(operand),) if type(operand) in _SCALARS else ()
    if not all(type(value) in _SCALARS for value in operand):
        return ()
    return tuple(dict.fromkeys(map(hashed, operand)))


def _joined(parts: Sequence[_Part]) -> Spec:
    """Return the filter that asks for all of ``parts``."""
    joined = dict(parts)
    return joined if len(joined) == len(parts) else {"$and": [{key: value} for key, value in parts]}
