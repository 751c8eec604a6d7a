from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given

from router_client.errors import Conflict
from router_node.routing import filter_compilation, filter_operators, filter_text
from router_node.routing.effort import BASE_STEPS, BYTES_PER_STEP, UNLIMITED, Effort, TooCostly, TooMuch
from router_node.routing.filter_language import compile_filter
from router_node.routing.route import Route
from router_node.routing.route_table import MAX_LOAD, RouteTable
from tests.routing.strategies import documents, filters

Object = dict[str, Any]
Specs = Iterator[Object]


def filled(specs: Specs) -> RouteTable:
    """A table with as many filters as it takes."""
    table = RouteTable()
    with suppress(Conflict):
        for number, spec in enumerate(specs):
            table.put(Route(str(number), ("a",), spec))
    return table


def matched(table: RouteTable, document: Object) -> tuple[set[str], set[str]]:
    """The routes an event is found to go to, and those left undecided."""
    try:
        return {route.name for route in table.match("a", lambda: document, len(orjson.dumps(document)))}, set()
    except TooCostly as cost:
        found = {route.name for route in cost.found}
        return found, {route.name for route in cost.undecided} - found


@contextmanager
def counted_elements() -> Iterator[Callable[[], int]]:
    """Count the elements and values that conditions are tried on, one by one."""
    tried = 0

    def counting(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
        def try_it(value: Any) -> bool:
            nonlocal tried
            tried += 1
            return test(value)

        return try_it

    plain = filter_compilation.any_element

    def any_element(test: Callable[[Any], bool], *others: Any) -> Any:
        return plain(counting(test), *others)

    with pytest.MonkeyPatch.context() as patch:
        for module in (filter_compilation, filter_operators, filter_text):
            patch.setattr(module, "any_element", any_element)
        yield lambda: tried


NUMBERS = list(range(10_000))
SLOW: dict[str, tuple[Callable[[int], Object], Any]] = {
    "$mod": (lambda n: {"v": {"$mod": [10**6, -n]}}, NUMBERS),
    "$prefix": (lambda n: {"v": {"$prefix": f"x{n}"}}, [str(n) for n in NUMBERS]),
    "$regex": (lambda n: {"v": {"$regex": f"x{n}"}}, [str(n) for n in NUMBERS]),
    "$cidr": (lambda n: {"v": {"$cidr": f"10.{n % 256}.0.0/16"}}, ["1.2.3.4"] * 10_000),
    "$type": (lambda n: {"v": {"$not": {"$type": "int"}}, "w": {"$ne": n}}, ["x", *NUMBERS]),
    "objects": (lambda n: {"v": {"$in": [{"n": -n - 1}]}}, [{"n": n} for n in NUMBERS]),
    "$or": (lambda n: {"$or": [{"v": {"$mod": [10**6, -n - m]}} for m in range(100)]}, NUMBERS),
}


@pytest.mark.parametrize("name", SLOW)
def test_elements_times_conditions_are_bounded_by_the_size_of_the_event(name: str) -> None:
    spec, array = SLOW[name]
    with counted_elements() as tried:
        table = filled(spec(n) for n in range(MAX_LOAD))
        document = {"v": array}
        found, undecided = matched(table, document)
        steps = BASE_STEPS + len(orjson.dumps(document)) // BYTES_PER_STEP

        assert tried() <= steps + MAX_LOAD
    assert len(array) * table.load > steps
    assert undecided
    assert not found & undecided


@pytest.mark.parametrize(
    "spec",
    [
        lambda n: {"v": {"$ne": n}},
        lambda n: {"v": {"$nin": [n, n + 1]}},
        lambda n: {"v": {"$not": {"$gte": 20_000 + n}}},
        lambda n: {"v": {"$all": [n]}},
        lambda n: {"v": {"$size": n}},
    ],
    ids=["$ne", "$nin", "$not $gte", "$all", "$size"],
)
def test_what_can_be_looked_up_in_an_array_costs_its_elements_once(spec: Callable[[int], Object]) -> None:
    table = filled(spec(n) for n in range(MAX_LOAD))
    assert table.load == MAX_LOAD
    document = {"v": NUMBERS}

    found, undecided = matched(table, document)

    expected = {str(n) for n in range(MAX_LOAD) if compile_filter(spec(n)).matches(document)}
    if "$all" not in str(spec(0)):
        assert (found, undecided) == (expected, set())
    assert found <= expected <= found | undecided


def test_what_still_fits_is_checked_after_what_does_not() -> None:
    table = filled({"v": {"$mod": [10**6, -n - 1]}} for n in range(100))
    table.put(Route("scalar", ("a",), {"w": {"$ne": 1}}))
    table.put(Route("looked up", ("a",), {"w": 2}))
    table.put(Route("none of these", ("a",), {"w": {"$ne": 2}}))

    found, undecided = matched(table, {"v": NUMBERS, "w": 2})

    assert found == {"scalar", "looked up"}
    assert "none of these" not in undecided
    assert 0 < len(undecided) < 100


def test_another_event_has_steps_of_its_own() -> None:
    table = filled({"v": {"$mod": [10**6, -n]}} for n in range(100))
    assert matched(table, {"v": NUMBERS})[1]

    assert matched(table, {"v": 10**6 - 5}) == (set(), set())
    assert matched(table, {"v": [-5, 10**6]}) == ({"0", "5"}, set())


def test_few_filters_and_the_one_of_a_target_are_bounded_too() -> None:
    table = RouteTable()
    table.put(Route("few", ("a",), {"v": {"$elemMatch": {"$or": [{"x": n} for n in range(5)]}}}))
    slow = Route("slow", ("b",), {"$or": [{"v": {"$mod": [10**6, -n - 1]}} for n in range(100)]})
    table.put(slow)
    document: Object = {"v": [{"y": 1}] * 1000}

    assert matched(table, document) == (set(), {"few"})
    with pytest.raises(TooCostly) as cost:
        table.takes(slow, "b", lambda: {"v": NUMBERS}, 1000)
    assert list(cost.value.undecided) == [slow]
    assert not table.takes(slow, "b", lambda: {"v": 3}, 1000)


def test_arrays_at_many_paths_leave_undecided_what_cannot_be_looked_up() -> None:
    table = filled({"x": n, "y": n, "z": n} for n in range(20_000))
    table.put(Route("by another path", ("a",), {"w": 1}))
    several = [*range(-100, 0), 7]

    found, undecided = matched(table, {"x": several, "y": several, "z": several, "w": 1})

    assert found == {"by another path"}
    assert len(undecided) == 20_000
    assert matched(table, {"x": several, "y": 7, "z": 7, "w": 1}) == ({"7", "by another path"}, set())


def test_paths_through_the_same_array_of_objects_are_bounded_together() -> None:
    table = filled({f"v.x{n}": 1} for n in range(60))
    document = {"v": [{"y": 1}] * 2000}

    found, undecided = matched(table, document)

    assert found == set()
    assert 0 < len(undecided) < 60


def test_searches_take_the_time_they_took_and_then_no_other_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = count(step=100_000)  # each search takes 0.1 ms, by either clock
    for clock in ("perf_counter_ns", "thread_time_ns"):
        monkeypatch.setattr(filter_text, clock, lambda: next(readings))
    table = filled({"v": {"$regex": f"a[ab]{{{n}}}c"}} for n in range(100, 120))
    text = "b" * 1_000

    found, undecided = matched(table, {"v": text})

    assert found == set()
    assert next(readings) // 200_000 <= 3
    assert len(undecided) >= 5


def test_a_search_that_could_take_too_long_is_not_begun() -> None:
    text = "a" * 200_000
    search = compile_filter({"v": {"$regex": "a[ab]{500}c"}}, effort=Effort()).matches
    small = Effort()
    small.begin(len(text))

    with pytest.raises(TooMuch):
        search({"v": text})
    assert compile_filter({"v": {"$regex": "a+b?$"}}, effort=small).matches({"v": text})


def test_steps_are_taken_only_when_there_are_enough() -> None:
    effort = Effort()
    effort.begin(10)
    with pytest.raises(TooMuch):
        effort.spend(BASE_STEPS + 10 // BYTES_PER_STEP + 1)
    effort.spend(BASE_STEPS)
    effort.took(10**9)

    with pytest.raises(TooMuch):
        effort.spend(1)
    effort.begin(0)
    effort.spend(BASE_STEPS)


@given(filters, documents)
def test_with_an_effort_a_filter_says_what_it_says_without_or_that_it_is_too_much(
    spec: Object, document: Object
) -> None:
    expected = compile_filter(spec, effort=UNLIMITED).matches(document)
    effort = Effort()
    for size in (-2 * BASE_STEPS, 10 - 2 * BASE_STEPS, 1000):
        effort.begin(size)
        with suppress(TooMuch):
            assert compile_filter(spec, effort=effort).matches(document) is expected
    effort.begin(100_000)
    assert compile_filter(spec, effort=effort).matches(document) is expected
