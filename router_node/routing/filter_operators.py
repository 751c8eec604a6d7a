"""The operators of the filter language: each turns its operand into a check of what a path leads to."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from router_client.errors import InvalidInput
from router_node.routing import filter_text
from router_node.routing.filter_compilation import (
    Check,
    Compilation,
    Make,
    Test,
    any_element,
    any_scalar,
    any_value,
    equality,
    every,
    has_operators,
    negated,
)
from router_node.routing.filter_elements import Many, Scalar
from router_node.routing.filter_values import (
    MISSING,
    PYTHON_TYPES,
    TYPE_CODES,
    Indexed,
    check_json,
    count_of,
    hashed,
    hashed_like,
    is_number,
    order,
    sizes_of,
)

Compare = Callable[[Any, Any], bool]


def _eq(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    check_json(operand, field)
    return equality(operand, compilation.effort)


def _compared(holds: Compare) -> Make:
    def make(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
        check_json(operand, field)
        if type(operand) in (str, int, float):
            return any_scalar(_of_scalars(holds, operand), compilation.effort, _of_extents(holds, operand))

        def test(value: Any) -> bool:
            by = order(value, operand)
            return by is not None and holds(by, 0)

        return any_element(test, compilation.effort, 3 * count_of(operand))

    return make


def _of_scalars(holds: Compare, operand: Scalar) -> Test:
    if type(operand) is str:
        return lambda value: type(value) is str and holds(value, operand)
    return lambda value: (type(value) is int or type(value) is float) and holds(value, operand)


def _of_extents(holds: Compare, operand: Scalar) -> Callable[[Many], bool]:
    """Compare the outermost of several values: one of them compares so if that does."""
    place, end = type(operand) is str, int(holds in (operator.gt, operator.ge))

    def among(several: Many) -> bool:
        extent = several.extents[place]
        return extent is not None and holds(extent[end], operand)

    return among


def _in(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    for index, value in enumerate(compilation.values(operand, field)):
        if has_operators(value):
            raise InvalidInput("a value, not operators", field=f"{field}[{index}]")
    wanted, key = frozenset(map(hashed, operand)), hashed_like(operand, compilation.effort.spend)
    if sizes_of(operand):
        return any_element(lambda value: key(value) in wanted, compilation.effort)

    def among(several: Many) -> bool:
        several.spend(min(len(wanted), len(several.keys)) // 8)
        return not wanted.isdisjoint(several.keys)

    return any_scalar(lambda value: key(value) in wanted, compilation.effort, among)


def _opposite(make: Make) -> Make:
    def make_opposite(operand: Any, field: str, compilation: Compilation, around: Mapping[str, Any]) -> Check:
        return negated(make(operand, field, compilation, around))

    return make_opposite


def _exists(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    there = any_value(lambda value: value is not MISSING, compilation.effort)
    # As in MongoDB, only false, 0 and null mean no.
    return there if operand or isinstance(operand, (str, list, dict)) else negated(there)


def _all(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    values = compilation.values(operand, field)
    nested = [has_operators(value) for value in values]
    if any(nested):
        for index, value in enumerate(values):
            if not nested[index] or set(value) != {"$elemMatch"}:
                raise InvalidInput("either values only, or $elemMatch only", field=f"{field}[{index}]")
        return every([compilation.condition(value, f"{field}[{i}]", compilation) for i, value in enumerate(values)])
    wanted, key = frozenset(map(hashed, values)), hashed_like(values, compilation.effort.spend)

    effort, plain = compilation.effort, not sizes_of(values)

    def one(value: Any) -> bool:
        if type(value) is not list:
            return len(wanted) == 1 and key(value) in wanted
        if not plain:
            return many((value,))
        effort.spend(len(wanted) // 8)
        return bool(wanted) and wanted <= effort.elements(value).keys

    def many(found: Sequence[Any]) -> bool:
        effort.spend(len(found))
        effort.spend(sum(len(value) for value in found if type(value) is list))
        return bool(wanted) and wanted.issubset(map(key, _with_elements(found)))

    return Check(one, many)


def _with_elements(found: Sequence[Any]) -> Iterator[Any]:
    for value in found:
        yield value
        if type(value) is list:
            yield from value


def _elem_match(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, dict):
        raise InvalidInput("a filter or operators for one element", field=field)
    effort, before = compilation.effort, compilation.conditions
    operators = [key for key in operand if str(key).startswith("$") and key not in ("$and", "$or", "$nor")]
    if not operators:
        query, weight = compilation.query(operand, field, compilation), 4 * (compilation.conditions - before)

        def scope(element: Any) -> Any:
            if isinstance(element, list):
                effort.spend(len(element))
            return as_object(element)

        def among_objects(array: list[Any]) -> bool:
            effort.spend(len(array) * (weight + 1))
            return any(query(scope(each)) for each in array if isinstance(each, (dict, list)))

        return any_value(lambda value: isinstance(value, list) and among_objects(value), effort)
    if len(operators) != len(operand):
        raise InvalidInput("operators and a filter do not mix here", field=field)
    one, weight = compilation.condition(operand, field, compilation).one, 2 * (compilation.conditions - before)

    def among(array: list[Any]) -> bool:
        effort.spend(len(array) * (weight + 1))
        return any(one(as_one(each)) for each in array)

    return any_value(lambda value: isinstance(value, list) and among(value), effort)


def as_one(element: Any) -> Any:
    """Return an element of an array as the operators of ``$elemMatch`` see it: one value, be it an array itself."""
    return Indexed(element) if isinstance(element, list) else element


def as_object(element: Any) -> Any:
    """Return an element of an array as the filter of an ``$elemMatch`` sees it: an array by its indexes."""
    if isinstance(element, list):
        return {str(index): value for index, value in enumerate(element)}
    return element


def _size(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not _is_finite(operand) or operand != int(operand) or operand < 0:
        raise InvalidInput("a whole number", field=field)
    return any_value(lambda value: isinstance(value, list) and len(value) == operand, compilation.effort)


def _mod(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, list) or len(operand) != 2 or not all(map(_is_finite, operand)):
        raise InvalidInput("a list of two numbers, [divisor, remainder]", field=field)
    divisor, remainder = int(operand[0]), int(operand[1])
    if divisor == 0:
        raise InvalidInput("the divisor may not be 0", field=f"{field}[0]")

    size, negative = abs(divisor), -remainder

    def test(value: Any) -> bool:
        if type(value) is not int and (type(value) is not float or not math.isfinite(value)):
            return False
        whole = int(value)
        return whole % size == remainder if whole >= 0 else -whole % size == negative

    return any_element(test, compilation.effort, 2)


def _is_finite(value: Any) -> bool:
    return is_number(value) and (type(value) is int or math.isfinite(value))


def _type(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    codes = {code: name for name, code in TYPE_CODES.items() if code is not None}
    names = set()
    for wanted in compilation.values(operand, field) if isinstance(operand, list) else [operand]:
        name = codes.get(wanted) if type(wanted) is int else wanted
        if not isinstance(name, str) or name not in TYPE_CODES:
            raise InvalidInput("a type: " + ", ".join(TYPE_CODES), field=field)
        names.add(name)
    if not names:
        raise InvalidInput("at least one type", field=field)
    kinds = frozenset(kind for name in names for kind in PYTHON_TYPES.get(name, ()))
    whole = int in kinds or names >= {"int", "long"}
    narrow, wide = "int" in names, "long" in names

    def test(value: Any) -> bool:
        kind = type(value)
        if kind is int and not whole:
            return narrow if -(2**31) <= value < 2**31 else wide
        return kind in kinds or kind is int

    return any_element(test, compilation.effort)


OPERATORS: dict[str, Make] = {
    "$eq": _eq,
    "$ne": _opposite(_eq),
    "$gt": _compared(operator.gt),
    "$gte": _compared(operator.ge),
    "$lt": _compared(operator.lt),
    "$lte": _compared(operator.le),
    "$in": _in,
    "$nin": _opposite(_in),
    "$exists": _exists,
    "$regex": filter_text.regex,
    "$all": _all,
    "$elemMatch": _elem_match,
    "$size": _size,
    "$mod": _mod,
    "$type": _type,
    "$prefix": filter_text.prefix,
    "$suffix": filter_text.suffix,
    "$cidr": filter_text.cidr,
}
