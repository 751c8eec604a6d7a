"""What compiling a filter is made of: checks, the ways to join them, and the bounds of one filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from router_client.errors import InvalidInput
from router_node.routing.effort import Effort
from router_node.routing.filter_elements import Many
from router_node.routing.filter_values import MAX_DEPTH, MISSING, check_json, count_of, hashed, same

MAX_LIST = 1000
MAX_CONDITIONS = 500
# RE2 takes 5 to 9 ns per instruction and byte of text when a text is made to defeat its caches: with this bound, all
# expressions of a filter take 2 to 3 s at worst over 256 KiB. One Unicode class such as \pL is 1,200 instructions.
MAX_REGEX_INSTRUCTIONS = 1250

Test = Callable[[Any], bool]


class Check(NamedTuple):
    """A condition on what a path leads to, in two forms that agree: ``one(value)`` is ``many([value])``.

    ``one`` is for the usual path, which leads through objects to one value; ``many`` for paths through arrays.
    """

    one: Test
    many: Callable[[Sequence[Any]], bool]


def any_value(test: Test, effort: Effort, weight: int = 1) -> Check:
    """Check that a value passes ``test``, an array as a whole. Each takes ``weight`` steps of the effort."""

    def many(found: Sequence[Any]) -> bool:
        effort.spend(weight * len(found))
        return any(map(test, found))

    return Check(test, many)


def any_element(test: Test, effort: Effort, weight: int = 1) -> Check:
    """Check that a value, or an element of an array value, passes ``test``."""

    def within(array: list[Any]) -> bool:
        effort.spend(weight * len(array))
        return any(map(test, array))

    def one(value: Any) -> bool:
        return test(value) or (type(value) is list and within(value))

    return any_value(one, effort, weight)


def any_scalar(test: Test, effort: Effort, among: Callable[[Many], bool]) -> Check:
    """Check that a value passes ``test``, or that ``among`` says so of an array's scalars: one of them would pass."""

    def one(value: Any) -> bool:
        return test(value) or (type(value) is list and among(effort.elements(value)))

    return any_value(one, effort)


def negated(check: Check) -> Check:
    """Turn a check into its opposite."""
    one, many = check
    return Check(lambda value: not one(value), lambda found: not many(found))


def every(checks: Sequence[Check]) -> Check:
    """Join checks of the same path; each may be met by another of its values."""
    if len(checks) == 1:
        return checks[0]
    return Check(
        lambda value: all(check.one(value) for check in checks),
        lambda found: all(check.many(found) for check in checks),
    )


def equality(wanted: Any, effort: Effort) -> Check:
    """Check that a value, or an element of an array value, equals what is wanted."""
    if isinstance(wanted, (list, dict)):
        return any_element(equals(wanted), effort, 3 * count_of(wanted))
    key = hashed(wanted)
    return any_scalar(equals(wanted), effort, lambda several: key in several.keys)


def equals(wanted: object) -> Test:
    """Test for equality; null is equal to what is missing too."""
    if wanted is None:
        return lambda value: value is None or value is MISSING
    if isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: value == wanted
    if isinstance(wanted, (int, float)):
        return lambda value: value == wanted and type(value) is not bool
    return lambda value: same(value, wanted)


def has_operators(value: object) -> bool:
    """Tell whether ``value`` is an object of operators rather than a value."""
    return isinstance(value, dict) and any(isinstance(key, str) and key.startswith("$") for key in value)


class Compilation:
    """One filter being compiled: how to compile the filters inside it, and what it may still use of its bounds.

    ``effort`` is what checking takes its steps of. Methods raise InvalidInput naming the place where a bound was met.
    """

    def __init__(
        self,
        query: Callable[[Any, str, Compilation], Test],
        condition: Callable[[Any, str, Compilation], Check],
        effort: Effort,
    ) -> None:
        self.query = query
        self.condition = condition
        self.effort = effort
        self._depth = 0
        self._conditions = 0
        self._around = 0
        self._expressions = self._instructions = 0

    @property
    def cost(self) -> int:
        """How much work the filter may be, in conditions.

        An expression is four, 10 of its instructions one more; each join of filters is one, and each step of a path
        beyond the second.
        """
        return self._conditions + self._around + 3 * self._expressions + self._instructions // 10

    @property
    def conditions(self) -> int:
        """How many conditions there are so far."""
        return self._conditions

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

    def spend_around(self, count: int) -> None:
        """Count what comes around conditions: joins and long paths."""
        self._around += count

    def spend_instructions(self, count: int, field: str) -> None:
        """Count the instructions of a compiled regular expression."""
        self._expressions += 1
        self._instructions += count
        if self._instructions > MAX_REGEX_INSTRUCTIONS:
            raise InvalidInput(
                f"too large: the regular expressions of one filter compile to at most {MAX_REGEX_INSTRUCTIONS} "
                f"instructions of RE2, with this one they are {self._instructions}",
                field=field,
            )

    def values(self, operand: object, field: str) -> list[Any]:
        """Return ``operand`` when it is a list of at most ``MAX_LIST`` JSON values."""
        if not isinstance(operand, list):
            raise InvalidInput("a list of values", field=field)
        if len(operand) > MAX_LIST:
            raise InvalidInput(f"a list of at most {MAX_LIST}", field=field)
        for index, value in enumerate(operand):
            check_json(value, f"{field}[{index}]")
        return operand


Make = Callable[[Any, str, Compilation, Mapping[str, Any]], Check]
