"""The content-filter language: MongoDB's query operators on event objects, compiled once into closures.

Paths are dotted and start at the event object (``payload.amount``). Comparisons never fail on mixed types, they are
false. Regular expressions run on RE2, in time linear in the text. ``$prefix``, ``$suffix`` and ``$cidr`` are ours.

Bounds: 32 levels of nesting, 500 conditions, 1,000 elements in a list, 1,000 characters in a regular expression, and
for all of them together the RE2 program of MAX_REGEX_INSTRUCTIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router_client.errors import InvalidInput
from router_node.routing.effort import UNLIMITED, Effort
from router_node.routing.filter_compilation import (
    MAX_LIST,
    Check,
    Compilation,
    Test,
    equality,
    every,
    has_operators,
    negated,
)
from router_node.routing.filter_operators import OPERATORS
from router_node.routing.filter_values import MISSING, PLAIN_STEPS, Path, check_json, parse_path, reach


class Filter:
    """A compiled filter. ``matches`` tells whether an event object, a decoded JSON document, passes.

    It raises nothing but TooMuch of the effort it was compiled with. ``cost`` is what it may take, in conditions; see
    Compilation.
    """

    __slots__ = ("cost", "matches")

    def __init__(self, matches: Callable[[Mapping[str, Any]], bool], cost: int) -> None:
        self.matches = matches
        self.cost = cost


def compile_filter(spec: Mapping[str, Any], field: str = "filter", effort: Effort = UNLIMITED) -> Filter:
    """Compile a filter; an empty one passes everything. Matching takes steps of ``effort``.

    Raises InvalidInput whose ``field`` is the path of the fault, for example ``filter.payload.amount.$gt``.
    """
    compilation = Compilation(_compile_query, _compile_condition, effort)
    predicate = _compile_query(spec, field, compilation)
    return Filter(predicate, compilation.cost)


def _compile_query(spec: object, field: str, compilation: Compilation) -> Test:
    if not isinstance(spec, Mapping):
        raise InvalidInput("must be a JSON object", field=field)
    if not spec:
        compilation.spend(field)
    with compilation.deeper(field):
        parts = [_compile_member(key, value, f"{field}.{key}", compilation) for key, value in spec.items()]
    return _all_of(parts)


def _compile_member(key: object, value: object, field: str, compilation: Compilation) -> Test:
    if not isinstance(key, str):
        raise InvalidInput("a path is text, for example payload.amount", field=field)
    if key in _LOGICAL:
        if not isinstance(value, list) or not value:
            raise InvalidInput("a list of at least one filter", field=field)
        if len(value) > MAX_LIST:
            raise InvalidInput(f"a list of at most {MAX_LIST}", field=field)
        compilation.spend_around(1)
        return _LOGICAL[key]([_compile_query(part, f"{field}[{i}]", compilation) for i, part in enumerate(value)])
    if key.startswith("$"):
        raise InvalidInput(f"unknown operator {key}; at this place $and, $or and $nor are known", field=field)
    path = parse_path(key)
    compilation.spend_around(max(0, len(path) - PLAIN_STEPS))
    return _at(path, _compile_condition(value, field, compilation), compilation.effort)


def _compile_condition(value: object, field: str, compilation: Compilation) -> Check:
    """Compile what stands after a path: an object of operators, or a value to equal."""
    if not isinstance(value, dict) or not has_operators(value):
        compilation.spend(field)
        check_json(value, field)
        return equality(value, compilation.effort)
    with compilation.deeper(field):
        return every(
            [
                _compile_operator(name, operand, f"{field}.{name}", compilation, value)
                for name, operand in value.items()
                if name != "$options" or "$regex" not in value
            ]
        )


def _compile_operator(
    name: str, operand: object, field: str, compilation: Compilation, around: Mapping[str, Any]
) -> Check:
    if name == "$not":
        if not isinstance(operand, dict) or not operand or not all(str(key).startswith("$") for key in operand):
            raise InvalidInput("an object of operators", field=field)
        return negated(_compile_condition(operand, field, compilation))
    if name == "$options":
        raise InvalidInput("$options goes with $regex", field=field)
    make = OPERATORS.get(name)
    if make is None:
        raise InvalidInput(f"unknown operator {name}", field=field)
    compilation.spend(field)
    return make(operand, field, compilation, around)


def _at(path: Path, check: Check, effort: Effort) -> Test:
    """Apply ``check`` to what the path leads to; one or two steps through objects are the usual case."""
    one, many = check
    first, second = path[0][0], path[-1][0]

    def anywhere(document: Any) -> bool:
        return many(reach(document, path, effort.spend))

    def in_document(document: Any) -> bool:
        return one(document.get(first, MISSING)) if type(document) is dict else anywhere(document)

    def in_member(document: Any) -> bool:
        inner = document.get(first) if type(document) is dict else None
        return one(inner.get(second, MISSING)) if type(inner) is dict else anywhere(document)

    return {1: in_document, 2: in_member}.get(len(path), anywhere)


def _all_of(parts: list[Test]) -> Test:
    if len(parts) == 1:
        return parts[0]

    def passes(document: Any) -> bool:
        for part in parts:  # noqa: SIM110 - a generator costs more than most filters
            if not part(document):
                return False
        return True

    return passes


def _any_of(parts: list[Test]) -> Test:
    def passes(document: Any) -> bool:
        for part in parts:  # noqa: SIM110 - as above
            if part(document):
                return True
        return False

    return passes


def _none_of(parts: list[Test]) -> Test:
    some = _any_of(parts)
    return lambda document: not some(document)


_LOGICAL: dict[str, Callable[[list[Test]], Test]] = {"$and": _all_of, "$or": _any_of, "$nor": _none_of}
