"""The content-filter language: MongoDB's query operators on event objects, compiled once into closures.

Paths are dotted and start at the event object (``payload.amount``). Comparisons never fail on mixed types, they are
false. Regular expressions run on RE2, in time linear in the text; nesting, lists and conditions are bounded, so no
filter can hang a node. ``$prefix``, ``$suffix`` and ``$cidr`` are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router_client.errors import InvalidInput
from router_node.routing.filter_operators import OPERATORS, Check, Compilation, any_element, equals
from router_node.routing.filter_values import reach

Predicate = Callable[[Any], bool]
Scalar = str | int | float | bool


class Filter:
    """A compiled filter.

    ``equalities`` are the top-level conditions path -> scalar that must hold, for an index to probe by. A path that
    leads through an array in the event is satisfied by any element, so an index must fall back on ``matches`` there.
    """

    __slots__ = ("_predicate", "equalities")

    def __init__(self, predicate: Predicate, equalities: Mapping[str, Scalar]) -> None:
        self._predicate = predicate
        self.equalities = equalities

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Tell whether the event object passes. Never raises for a JSON document."""
        return self._predicate(document)


def compile_filter(spec: Mapping[str, Any], field: str = "filter") -> Filter:
    """Compile a filter; an empty one passes everything.

    Raises InvalidInput whose ``field`` is the path of the fault, for example ``filter.payload.amount.$gt``.
    """
    predicate = _compile_query(spec, field, Compilation(_compile_query, compile_condition))
    equalities = {}
    for path, condition in spec.items():
        wanted = condition.get("$eq") if isinstance(condition, dict) and len(condition) == 1 else condition
        if not path.startswith("$") and isinstance(wanted, (str, int, float)):
            equalities[path] = wanted
    return Filter(predicate, equalities)


def _compile_query(spec: object, field: str, compilation: Compilation) -> Predicate:
    if not isinstance(spec, Mapping):
        raise InvalidInput("must be a JSON object", field=field)
    with compilation.deeper(field):
        parts = [_compile_member(str(key), value, f"{field}.{key}", compilation) for key, value in spec.items()]
    if len(parts) == 1:
        return parts[0]
    return lambda document: all(part(document) for part in parts)


def _compile_member(key: str, value: object, field: str, compilation: Compilation) -> Predicate:
    if key in _LOGICAL:
        if not isinstance(value, list) or not value:
            raise InvalidInput("a list of at least one filter", field=field)
        compilation.check_list(value, field)
        parts = [_compile_query(part, f"{field}[{i}]", compilation) for i, part in enumerate(value)]
        return _LOGICAL[key](parts)
    if key.startswith("$"):
        raise InvalidInput(f"unknown operator {key}; at this place $and, $or and $nor are known", field=field)
    compilation.spend(field)
    return _at(tuple(key.split(".")), compile_condition(value, field, compilation))


def compile_condition(value: object, field: str, compilation: Compilation) -> Check:
    """Compile what stands after a path: an object of operators, or a value to equal.

    The result takes the list of what the path leads to.
    """
    if not isinstance(value, dict) or not any(key.startswith("$") for key in value):
        return any_element(equals(value))
    checks: list[Check] = []
    with compilation.deeper(field):
        for name, operand in value.items():
            where = f"{field}.{name}"
            if name == "$options":
                if "$regex" not in value:
                    raise InvalidInput("$options goes with $regex", field=where)
                continue
            make = OPERATORS.get(name)
            if name == "$not":
                checks.append(_negated(_compile_not(operand, where, compilation)))
            elif make is None:
                raise InvalidInput(f"unknown operator {name}", field=where)
            else:
                compilation.spend(where)
                checks.append(make(operand, where, compilation, value))
    if len(checks) == 1:
        return checks[0]
    return lambda found: all(check(found) for check in checks)


def _compile_not(operand: object, field: str, compilation: Compilation) -> Check:
    if not isinstance(operand, dict) or not operand or not all(key.startswith("$") for key in operand):
        raise InvalidInput("an object of operators", field=field)
    return compile_condition(operand, field, compilation)


def _negated(check: Check) -> Check:
    return lambda found: not check(found)


def _at(path: tuple[str, ...], check: Check) -> Predicate:
    if len(path) == 2:  # the usual case: payload.something
        first, second = path

        def quick(document: Any) -> bool:
            inner = document.get(first) if isinstance(document, dict) else None
            if type(inner) is dict and second in inner:
                return check([inner[second]])
            return check(list(reach(document, path)))

        return quick
    return lambda document: check(list(reach(document, path)))


def _none_of(parts: list[Predicate]) -> Predicate:
    return lambda document: not any(part(document) for part in parts)


_LOGICAL: dict[str, Callable[[list[Predicate]], Predicate]] = {
    "$and": lambda parts: lambda document: all(part(document) for part in parts),
    "$or": lambda parts: lambda document: any(part(document) for part in parts),
    "$nor": _none_of,
}
