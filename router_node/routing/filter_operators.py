"""The operators of the filter language: each turns its operand into a check of what a path leads to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import re2

from router_client.errors import InvalidInput
from router_node.routing.filter_values import MISSING, TYPE_NAMES, Indexed, is_number, order, same

MAX_DEPTH = 32
MAX_LIST = 1000
MAX_CONDITIONS = 500
MAX_REGEX_CHARS = 1000
MAX_REGEX_BYTES = 1 << 20

_VERBOSE = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\s+|#[^\n]*", re.DOTALL)

Check = Callable[[Sequence[Any]], bool]
Test = Callable[[Any], bool]
Make = Callable[[Any, str, "Compilation", Mapping[str, Any]], Check]


class Compilation:
    """One filter being compiled: how to compile the filters inside it, and what it may use of nesting and conditions.

    Its methods raise InvalidInput naming the place where a bound was met.
    """

    def __init__(
        self,
        query: Callable[[Any, str, Compilation], Test],
        condition: Callable[[Any, str, Compilation], Check],
    ) -> None:
        self.query = query
        self.condition = condition
        self._depth = 0
        self._conditions = 0

    @contextmanager
    def deeper(self, field: str) -> Iterator[None]:
        """Count one level of nesting."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", field=field)
        yield
        self._depth -= 1

    def spend(self, field: str) -> None:
        """Count one condition."""
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise InvalidInput(f"more than {MAX_CONDITIONS} conditions in one filter", field=field)

    def check_list(self, values: Sequence[object], field: str) -> None:
        """Bound the length of a list."""
        if len(values) > MAX_LIST:
            raise InvalidInput(f"a list of at most {MAX_LIST}", field=field)


def any_element(test: Test) -> Check:
    """Check that a value, or an element of an array value, passes ``test``."""

    def check(found: Sequence[Any]) -> bool:
        for value in found:
            if test(value):
                return True
            if type(value) is list and any(map(test, value)):
                return True
        return False

    return check


def equals(wanted: object) -> Test:
    """Test for equality; null is equal to what is missing too."""
    if wanted is None:
        return lambda value: value is None or value is MISSING
    if isinstance(wanted, str):
        return lambda value: value == wanted
    return lambda value: same(value, wanted)


def _eq(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    return any_element(equals(operand))


def _ne(operand: Any, field: str, compilation: Compilation, around: Mapping[str, Any]) -> Check:
    equal = _eq(operand, field, compilation, around)
    return lambda found: not equal(found)


def _compared(accept: Callable[[int], bool]) -> Make:
    def make(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
        if isinstance(operand, (list, dict)):

            def whole(found: Sequence[Any]) -> bool:
                return any((by := order(value, operand)) is not None and accept(by) for value in found)

            return whole

        def test(value: Any) -> bool:
            by = order(value, operand)
            return by is not None and accept(by)

        return any_element(test)

    return make


def _in(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, list):
        raise InvalidInput("a list of values", field=field)
    compilation.check_list(operand, field)
    for index, value in enumerate(operand):
        if isinstance(value, dict) and any(key.startswith("$") for key in value):
            raise InvalidInput("a value, not operators", field=f"{field}[{index}]")
    texts = {value for value in operand if isinstance(value, str)}
    tests = [equals(value) for value in operand if not isinstance(value, str)]

    def test(value: Any) -> bool:
        return (type(value) is str and value in texts) or any(each(value) for each in tests)

    return any_element(test)


def _nin(operand: Any, field: str, compilation: Compilation, around: Mapping[str, Any]) -> Check:
    within = _in(operand, field, compilation, around)
    return lambda found: not within(found)


def _exists(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    wanted = bool(operand)
    return lambda found: any(value is not MISSING for value in found) is wanted


def _regex(operand: Any, field: str, compilation: Compilation, around: Mapping[str, Any]) -> Check:
    if not isinstance(operand, str):
        raise InvalidInput("a regular expression as text", field=field)
    if len(operand) > MAX_REGEX_CHARS:
        raise InvalidInput(f"at most {MAX_REGEX_CHARS} characters", field=field)
    flags = around.get("$options", "")
    if not isinstance(flags, str) or not set(flags) <= set("gimsux"):
        raise InvalidInput("letters out of g, i, m, s, u and x", field=field.removesuffix("$regex") + "$options")
    pattern = _without_comments(operand) if "x" in flags else operand
    options = re2.Options()
    options.max_mem = MAX_REGEX_BYTES
    options.log_errors = False
    prefix = "".join(sorted(set(flags) & set("ims")))
    try:
        search = re2.compile(f"(?{prefix}){pattern}" if prefix else pattern, options).search
    except re2.error as error:
        raise InvalidInput(f"not a regular expression that RE2 takes: {error}", field=field) from error
    return any_element(lambda value: isinstance(value, str) and search(value) is not None)


def _without_comments(pattern: str) -> str:
    """Take out what the option x ignores, which RE2 does not know: white space and comments outside classes."""
    return _VERBOSE.sub(lambda match: match[1] or "", pattern)


def _all(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, list):
        raise InvalidInput("a list of values", field=field)
    compilation.check_list(operand, field)
    nested = [isinstance(v, dict) and any(key.startswith("$") for key in v) for v in operand]
    if any(nested):
        for index, value in enumerate(operand):
            if not nested[index] or set(value) != {"$elemMatch"}:
                raise InvalidInput("either values only, or $elemMatch only", field=f"{field}[{index}]")
        checks = [
            _elem_match(v["$elemMatch"], f"{field}[{i}].$elemMatch", compilation, {}) for i, v in enumerate(operand)
        ]
    else:
        checks = [any_element(equals(value)) for value in operand]
    return lambda found: bool(checks) and all(check(found) for check in checks)


def _elem_match(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, dict):
        raise InvalidInput("a filter or operators for one element", field=field)
    compilation.spend(field)
    operators = [key for key in operand if key.startswith("$") and key not in ("$and", "$or", "$nor")]
    if operators:
        if len(operators) != len(operand):
            raise InvalidInput("operators and a filter do not mix here", field=field)
        condition = compilation.condition(operand, field, compilation)

        def test(element: Any) -> bool:
            return condition([Indexed(element) if isinstance(element, list) else element])
    else:
        query = compilation.query(operand, field, compilation)

        def test(element: Any) -> bool:
            if isinstance(element, list):
                return query({str(index): value for index, value in enumerate(element)})
            return isinstance(element, dict) and query(element)

    return lambda found: any(isinstance(value, list) and any(map(test, value)) for value in found)


def _size(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not is_number(operand) or operand != int(operand) or operand < 0:
        raise InvalidInput("a whole number", field=field)
    return lambda found: any(isinstance(value, list) and len(value) == operand for value in found)


def _mod(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, list) or len(operand) != 2 or not all(is_number(n) for n in operand):
        raise InvalidInput("a list of two numbers, [divisor, remainder]", field=field)
    divisor, remainder = int(operand[0]), int(operand[1])
    if divisor == 0:
        raise InvalidInput("the divisor may not be 0", field=f"{field}[0]")

    def test(value: Any) -> bool:
        if not is_number(value):
            return False
        whole = int(value)
        return bool((abs(whole) % abs(divisor)) * (1 if whole >= 0 else -1) == remainder)

    return any_element(test)


def _type(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    codes = {code: name for name, (code, _) in TYPE_NAMES.items() if code is not None}
    tests = []
    for wanted in operand if isinstance(operand, list) else [operand]:
        name = codes.get(wanted) if type(wanted) is int else wanted
        if not isinstance(name, str) or name not in TYPE_NAMES:
            raise InvalidInput("a JSON type: " + ", ".join(TYPE_NAMES), field=field)
        tests.append(TYPE_NAMES[name][1])
    return any_element(lambda value: any(test(value) for test in tests))


def _text(name: str, holds: Callable[[str, str], bool]) -> Make:
    def make(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
        if not isinstance(operand, str):
            raise InvalidInput(f"the {name} as text", field=field)
        return any_element(lambda value: isinstance(value, str) and holds(value, operand))

    return make


def _cidr(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    if not isinstance(operand, str):
        raise InvalidInput("a network as text", field=field)
    try:
        network = ipaddress.ip_network(operand, strict=False)
    except ValueError as error:
        raise InvalidInput("a network such as 10.0.0.0/8 or fd00::/8", field=field) from error

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return any_element(test)


OPERATORS: dict[str, Make] = {
    "$eq": _eq,
    "$ne": _ne,
    "$gt": _compared(lambda by: by > 0),
    "$gte": _compared(lambda by: by >= 0),
    "$lt": _compared(lambda by: by < 0),
    "$lte": _compared(lambda by: by <= 0),
    "$in": _in,
    "$nin": _nin,
    "$exists": _exists,
    "$regex": _regex,
    "$all": _all,
    "$elemMatch": _elem_match,
    "$size": _size,
    "$mod": _mod,
    "$type": _type,
    "$prefix": _text("prefix", str.startswith),
    "$suffix": _text("suffix", str.endswith),
    "$cidr": _cidr,
}
