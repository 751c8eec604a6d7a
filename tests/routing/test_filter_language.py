from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from router_client.errors import InvalidInput
from router_node.routing.effort import UNLIMITED
from router_node.routing.filter_language import compile_filter
from router_node.routing.filter_values import hashed, parse_path, reach, same
from tests.routing.strategies import conditions, documents, filters, lists, values

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "cases"
FOLDERS = [folder for folder in (GOLDEN, SHARED) if (folder / "filters.json").is_file()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_case_matches_as_expected(folder: Path) -> None:
    cases = json.loads((folder / "filters.json").read_text())
    wrong = [c["id"] for c in cases if compile_filter(c["filter"]).matches(c["document"]) is not c["expected"]]

    assert len(cases) >= 200
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_bad_filter_is_refused_with_the_path_of_its_fault(folder: Path) -> None:
    cases = json.loads((folder / "filters_rejected.json").read_text())
    wrong = []
    for case in cases:
        try:
            compile_filter(case["filter"])
            wrong.append((case["id"], "accepted"))
        except InvalidInput as error:
            if not (error.field or "").startswith("filter") or error.field != case.get("field", error.field):
                wrong.append((case["id"], str(error.field)))

    assert len(cases) >= 30
    assert wrong == []


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def within_or(levels: int) -> dict[str, Any]:
    """A filter ``levels`` deep: each level an $or around the next."""
    spec: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        spec = {"$or": [spec]}
    return spec


@pytest.mark.parametrize(
    ("within", "beyond", "message"),
    [
        (within_or(32), within_or(33), "deeper than 32"),
        ({"a": nested(32, lambda v: [v])}, {"a": nested(33, lambda v: [v])}, "deeper than 32"),
        ({"a": nested(32, lambda v: {"a": v})}, {"a": nested(33, lambda v: {"a": v})}, "deeper than 32"),
        ({f"f{n}": n for n in range(500)}, {f"f{n}": n for n in range(501)}, "more than 500 conditions"),
        (
            {f"f{n}": {"$gt": n} for n in range(500)},
            {f"f{n}": {"$gt": n} for n in range(501)},
            "more than 500 conditions",
        ),
        ({"$or": [{}] * 500}, {"$or": [{}] * 501}, "more than 500 conditions"),
        ({"a": {"$in": [1] * 1000}}, {"a": {"$in": [1] * 1001}}, "at most 1000"),
        ({"a": {"$all": [1] * 1000}}, {"a": {"$all": [1] * 1001}}, "at most 1000"),
        ({"a": {"$type": ["int"] * 1000}}, {"a": {"$type": ["int"] * 1001}}, "at most 1000"),
        ({"$or": [{"a": 1}] * 500}, {"$or": [{"a": 1}] * 1001}, "at most 1000"),
        ({"a": {"$regex": "x" * 1000}}, {"a": {"$regex": "x" * 1001}}, "at most 1000 characters"),
        ({"a": {"$regex": "(?:[ab]{0,200}a){3}c"}}, {"a": {"$regex": "(?:[ab]{0,300}a){3}c"}}, "too large"),
        ({"a": {"$regex": r"\pL"}}, {"a": {"$regex": r"\pL"}, "b": {"$regex": r"\pL"}}, "too large"),
        ({"a": {"$regex": "a{1000}"}}, {"a": {"$regex": r"\pL{999}"}}, "RE2 takes: pattern too large"),
    ],
)
def test_what_a_filter_may_use_is_bounded(within: dict[str, Any], beyond: dict[str, Any], message: str) -> None:
    compile_filter(within)

    with pytest.raises(InvalidInput, match=message):
        compile_filter(beyond)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ([1], "filter"),
        (None, "filter"),
        ({1: 2}, "filter.1"),
        ({"a": {1: 2}}, "filter.a"),
        ({"a": {"$gt": 1, 2: 3}}, "filter.a.2"),
        ({"a": float("nan")}, "filter.a"),
        ({"a": b"x"}, "filter.a"),
        ({"a": {"$gt": float("inf")}}, "filter.a.$gt"),
        ({"a": {"$in": [{"x": (1,)}]}}, "filter.a.$in[0]"),
        ({"a": {"$size": float("inf")}}, "filter.a.$size"),
        ({"a": {"$size": float("nan")}}, "filter.a.$size"),
        ({"a": {"$mod": [float("inf"), 0]}}, "filter.a.$mod"),
        ({"a": {"$regex": "\ud800"}}, "filter.a.$regex"),
        ({"a": {"$regex": "x", "$options": ["i"]}}, "filter.a.$options"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_path(spec: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_filter(spec)

    assert refused.value.field == field


def test_the_name_of_the_filter_begins_the_path_of_a_fault() -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_filter({"$or": [{}, {"a.b": {"$gte": 1, "$size": -1}}]}, "global_filters[3]")

    assert refused.value.field == "global_filters[3].$or[1].a.b.$size"


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(?<!a)b", "(?>a+)", r"a\Z"])
def test_what_only_a_backtracking_engine_takes_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="RE2"):
        compile_filter({"a": {"$regex": pattern}})


def test_what_only_re2_takes_works() -> None:
    assert compile_filter({"a": {"$regex": r"\A\pL+\z"}}).matches({"a": "Ünï"})


def test_a_catastrophic_pattern_is_harmless_because_re2_runs_it() -> None:
    hopeless = compile_filter({"payload.s": {"$regex": "(a|a)*(a|a)*(a+)+$"}})

    assert hopeless.matches({"payload": {"s": "a" * 100_000 + "b"}}) is False


def test_a_path_that_an_array_can_satisfy_in_two_ways_at_every_level_is_walked_once() -> None:
    document = nested(40, lambda v: {"0": [v]})

    assert len(reach(document, parse_path(".".join(["0"] * 60)), UNLIMITED.spend)) <= 40


@pytest.mark.parametrize("value", ["\ud800x", float("inf"), 10**400, nested(5000, lambda v: [v]), {"a": {"a": [{}]}}])
@pytest.mark.parametrize(
    "condition",
    [
        {"$regex": "x"},
        {"$mod": [2, 0]},
        {"$gt": 1.5},
        {"$gt": [[1]]},
        {"$in": [[[1]]]},
        {"$all": [[[1]]]},
        {"$size": 1},
        {"$type": "long"},
        {"$cidr": "10.0.0.0/8"},
        [[1]],
    ],
    ids=str,
)
def test_odd_values_are_matched_without_an_error(condition: Any, value: Any) -> None:
    for path in ("a", "a.a", "a.0", ".".join(["a"] * 5000)):
        assert compile_filter({path: condition}).matches({"a": value}) in (True, False)


@given(filters, documents)
def test_a_valid_filter_never_fails_on_a_document(spec: dict[str, Any], document: dict[str, Any]) -> None:
    assert compile_filter(spec).matches(document) in (True, False)


@given(filters, documents)
def test_nor_is_the_opposite(spec: dict[str, Any], document: dict[str, Any]) -> None:
    assert compile_filter({"$nor": [spec]}).matches(document) is not compile_filter(spec).matches(document)


@given(conditions, values)
def test_a_value_is_judged_alike_in_an_object_and_in_an_array_of_one_object(condition: Any, value: Any) -> None:
    matches = compile_filter({"a.b": condition}).matches

    assert matches({"a": {"b": value}}) is matches({"a": [{"b": value}]})


@given(lists, documents)
def test_in_is_any_of_equals_and_all_is_each_of_equals(wanted: list[Any], document: dict[str, Any]) -> None:
    each = [compile_filter({"a": {"$eq": value}}).matches(document) for value in wanted]

    assert compile_filter({"a": {"$in": wanted}}).matches(document) is any(each)
    assert compile_filter({"a": {"$nin": wanted}}).matches(document) is not any(each)
    assert compile_filter({"a": {"$all": wanted}}).matches(document) is (bool(each) and all(each))


@given(values, values)
def test_the_same_values_have_the_same_key_and_others_another(left: Any, right: Any) -> None:
    assert same(left, left)
    assert (hashed(left) == hashed(right)) is same(left, right)
