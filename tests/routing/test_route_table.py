from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client.errors import Conflict, InvalidInput
from router_client.topics import matches
from router_node.routing import filter_index, route_table
from router_node.routing.filter_language import Filter, compile_filter
from router_node.routing.route import Route
from router_node.routing.route_table import FEW, MAX_LOAD, MAX_LOOKUPS, RouteTable
from tests.routing.strategies import conjunctions, documents, filters, narrow_documents

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "cases"
FOLDERS = [folder for folder in (GOLDEN, SHARED) if (folder / "filters.json").is_file()]


class Plain:
    """The definition: every route is tried, in the order they were filed."""

    def __init__(self) -> None:
        self.table = RouteTable()
        self.there: list[Route] = []
        self.compiled: dict[Route, Filter] = {}

    def put(self, name: str, spec: Mapping[str, Any], topics: tuple[str, ...] = ("a",)) -> Route:
        route = Route(name, topics, spec)
        self.table.put(route)
        self.there.append(route)
        self.compiled[route] = compile_filter(spec)
        return route

    def remove(self, route: Route) -> None:
        self.table.remove(route)
        self.there.remove(route)

    def found(self, document: Mapping[str, Any], topic: str = "a") -> list[str]:
        return [route.name for route in self.table.match(topic, lambda: document)]

    def expected(self, document: Mapping[str, Any], topic: str = "a") -> list[str]:
        return [
            route.name
            for route in self.there
            if any(matches(pattern, topic) for pattern in route.topics) and self.compiled[route].matches(document)
        ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_case_matches_as_expected_in_a_table_of_all_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_table, "MAX_LOAD", 10_000)  # so many odd filters are more than a node would take
    cases = json.loads((folder / "filters.json").read_text())
    plain = Plain()
    for case in cases:
        plain.put(case["id"], case["filter"])

    wrong = []
    for case in cases:
        found = plain.found(case["document"])
        assert found == plain.expected(case["document"])
        if (case["id"] in found) is not case["expected"]:
            wrong.append(case["id"])

    assert len(cases) >= 200
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_bad_filter_is_refused_with_the_path_of_its_fault_and_leaves_nothing(folder: Path) -> None:
    cases = json.loads((folder / "filters_rejected.json").read_text())
    table = RouteTable()
    for case in cases:
        with pytest.raises(InvalidInput) as refused:
            table.put(Route(case["id"], ("a.>", "a"), case["filter"]))
        assert refused.value.field == case.get("field", refused.value.field)
        assert (refused.value.field or "").startswith("filter")

    assert table.patterns == 0
    assert len(cases) >= 30


patterns = st.lists(st.sampled_from(["a", "*", ">", "a.b", "a.>", "*.*"]), min_size=1, max_size=3, unique=True).map(
    tuple
)
changes = st.lists(st.tuples(st.integers(0, 3), patterns, conjunctions | filters), max_size=25)


@given(changes, st.lists(narrow_documents | documents, min_size=1, max_size=3), st.sampled_from([1, 3, 100]))
def test_it_finds_what_trying_every_route_finds_while_routes_come_and_go(
    changes: list[tuple[int, tuple[str, ...], dict[str, Any]]], asked: list[dict[str, Any]], groups: int
) -> None:
    plain = Plain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filter_index, "MAX_GROUPS", groups)
        patch.setattr(route_table, "MAX_LOAD", 10_000)  # so many odd filters are more than a node would take
        for number, (goes, topics, spec) in enumerate(changes):
            plain.put(str(number), spec, topics)
            if goes == 0:
                plain.remove(plain.there[number % len(plain.there)])
            document, topic = asked[number % len(asked)], ("a", "a.b")[number % 2]
            assert plain.found(document, topic) == plain.expected(document, topic)
        for document in asked:
            assert plain.found(document) == plain.expected(document)
        for route in list(plain.there):
            plain.remove(route)
    assert (plain.table.patterns, plain.table.load, plain.table.shapes) == (0, 0, 0)


def many(plain: Plain, count: int = 100) -> None:
    """Enough filters for an index."""
    for number in range(count):
        plain.put(f"n{number}", {"n": number, "kind": "number"})


@pytest.mark.parametrize(
    ("spec", "others"),
    [
        ({"v": True}, [{"v": 1}, {"v": 1.0}, {"v": "true"}]),
        ({"v": 1}, [{"v": True}, {"v": "1"}, {}]),
        ({"v": None}, [{"v": False}, {"v": 0}, {"v": ""}]),
        ({"v": {"$gte": 1, "$lt": 2}}, [{"v": True}, {"v": "1"}, {}, {"v": 2}, {"v": None}]),
    ],
    ids=str,
)
def test_values_of_other_types_are_other_values(spec: dict[str, Any], others: list[dict[str, Any]]) -> None:
    plain = Plain()
    many(plain)
    plain.put("s", spec)

    assert plain.found({"v": 1.0}) == (
        ["s"] if spec in ({"v": 1}, {"v": {"$gte": 1, "$lt": 2}}) and spec["v"] is not True else []
    )
    assert plain.found({}) == (["s"] if spec == {"v": None} else [])
    assert [document for document in others if plain.found(document)] == []


def test_null_is_equal_to_missing_and_to_no_element() -> None:
    plain = Plain()
    many(plain)
    plain.put("s", {"a.v": None, "kind": "x"})

    assert plain.found({"kind": "x"}) == ["s"]
    assert plain.found({"kind": "x", "a": {"v": None}}) == ["s"]
    assert plain.found({"kind": "x", "a": [{"v": 1}, {"w": 2}]}) == ["s"]
    assert plain.found({"kind": "x", "a": [1]}) == plain.expected({"kind": "x", "a": [1]})
    assert plain.found({"kind": "x", "a": []}) == plain.expected({"kind": "x", "a": []})


def test_any_elements_of_arrays_satisfy_each_condition() -> None:
    plain = Plain()
    many(plain)
    plain.put("both", {"tags": "x", "sizes": 3})
    plain.put("range", {"sizes": {"$gt": 5, "$lt": 6}})
    plain.put("mixed", {"tags": {"$gte": "x", "$lt": "y"}, "kind": "number"})
    document = {"tags": ["x", "z", 1], "sizes": [3, 10], "n": [7, 8], "kind": ["number"]}

    assert plain.found(document) == plain.expected(document) == ["n7", "n8", "both", "range", "mixed"]


def test_arrays_on_all_paths_of_a_group_cost_no_more_than_there_is_filed() -> None:
    plain = Plain()
    many(plain, 1000)
    document = {"n": list(range(500, 20_000)), "kind": [*map(str, range(10_000)), "number"]}

    assert len(plain.found(document)) == 500


def test_a_route_is_found_once_and_in_the_order_filed_whatever_finds_it() -> None:
    plain = Plain()
    plain.put("last pattern", {}, (">",))
    plain.put("many patterns", {"v": {"$in": [1, 2, 3]}}, ("a", "*", ">"))
    many(plain)
    plain.put("exact", {}, ("a",))
    plain.put("in", {"v": {"$in": [1, 2, 3]}, "w": {"$in": [1, 2]}})

    assert plain.found({"v": [1, 2, 3], "w": [1, 2]}) == ["last pattern", "many patterns", "exact", "in"]


def test_an_event_is_decoded_only_when_a_filter_is_to_look_into_it() -> None:
    plain = Plain()
    plain.put("plain", {}, (">",))
    plain.put("filtered", {"v": 1}, ("a.b",))

    def undecodable() -> Mapping[str, Any]:
        raise ValueError("no JSON")

    assert [route.name for route in plain.table.match("a", undecodable)] == ["plain"]
    with pytest.raises(ValueError, match="no JSON"):
        plain.table.match("a.b", undecodable)


def test_filters_that_no_look_up_decides_are_limited_in_all() -> None:
    table = RouteTable()
    for number in range(MAX_LOAD):
        table.put(Route(f"s{number}", ("a",), {"v": {"$ne": number}}))

    with pytest.raises(Conflict) as refused:
        table.put(Route("one more", ("b", "a", "*"), {"v": {"$ne": -1}}))
    assert refused.value.field == "filter"
    assert (table.load, table.patterns) == (MAX_LOAD, 1)
    table.put(Route("the same again", ("a",), {"v": {"$ne": 1}}))
    table.put(Route("found by equality", ("a",), {"w": 1}))
    table.put(Route("elsewhere, of the same shape", ("b",), {"v": {"$ne": -1}}))


def test_patterns_that_cover_one_topic_share_the_limit() -> None:
    table = RouteTable()
    for number in range(MAX_LOAD):
        table.put(Route(f"s{number}", (("a", "*", ">")[number % 3],), {"v": {"$ne": number}}))

    with pytest.raises(Conflict):
        table.put(Route("one more", ("*",), {"v": {"$ne": -1}}))


def test_a_filter_of_many_conditions_counts_for_as_many() -> None:
    table = RouteTable()
    heavy = [{"$or": [{"v": {"$mod": [499, n + m]}} for m in range(100)]} for n in range(3)]
    for number, spec in enumerate(heavy[:2]):
        table.put(Route(f"s{number}", ("a",), spec))
        table.put(Route(f"found by equality {number}", ("a",), {"n": number}))

    with pytest.raises(Conflict):
        table.put(Route("s2", ("a",), heavy[2]))
    table.put(Route("shared", ("a",), heavy[1]))


def test_joins_and_long_paths_count() -> None:
    table = RouteTable()
    table.put(Route("s", ("a",), {"$or": [{"$nor": [{"v": {"$ne": 1}}]}, {"a.b.c.d.e": {"$exists": True}}]}))
    for number in range(FEW):
        table.put(Route(str(number), ("a",), {"n": number}))

    assert table.load == 2 + 2 + 3


def test_values_looked_up_are_limited_over_all_patterns_and_what_has_no_room_is_checked() -> None:
    table = RouteTable()
    shapes = [".".join([*tokens, ">"]) for tokens in product(["a", "*"], repeat=6)]
    for number in range(10):
        for pattern in shapes:
            table.put(Route(f"{number} {pattern}", (pattern,), {f"v{number}": 1}))
            if table.load:
                break

    assert table.lookups == MAX_LOOKUPS
    assert 0 < table.load <= MAX_LOAD


def test_ranges_that_take_long_to_go_through_count() -> None:
    table = RouteTable()
    for level in range(400):
        low = "".join("z" if level == place else "m" for place in range(level // 32 + 1))
        table.put(Route(str(level), ("a",), {"k": 1, "v": {"$gte": low, "$lt": low + chr(1 << level % 16 + 1)}}))

    assert 0 < table.load <= MAX_LOAD


def test_expressions_count_for_their_size() -> None:
    table = RouteTable()
    table.put(Route("s", ("a",), {"v": {"$regex": r"\pL"}}))

    assert table.load > 100


def test_a_change_that_is_refused_leaves_what_was_there() -> None:
    table = RouteTable()
    old = Route("s", ("a", "b.*"), {"v": 1})
    table.put(old)
    for number in range(MAX_LOAD):
        table.put(Route(f"s{number}", ("c",), {"v": {"$ne": number}}))
    new = Route("s", ("b.*", "c"), {"v": {"$nin": [1]}})

    with pytest.raises(Conflict):
        table.replace(old, new)
    with pytest.raises(InvalidInput):
        table.replace(old, Route("s", ("a",), {"v": {"$what": 1}}))

    assert table.match("a", lambda: {"v": 1}) == [old]
    assert table.match("b.x", lambda: {"v": 1}) == [old]


def test_what_was_checked_one_by_one_can_change_when_nothing_more_can_be_put() -> None:
    table = RouteTable()
    routes = [Route(f"s{number}", ("c",), {"v": {"$ne": number}}) for number in range(MAX_LOAD)]
    for route in routes:
        table.put(route)

    changed = Route("s0", ("c",), {"v": {"$ne": -1}})
    table.replace(routes[0], changed)

    assert table.match("c", lambda: {"v": -1}) == routes[1:]


def test_what_was_put_under_a_higher_limit_can_still_change(monkeypatch: pytest.MonkeyPatch) -> None:
    table = RouteTable()
    routes = [Route(f"s{number}", ("c",), {"v": {"$ne": number}}) for number in range(MAX_LOAD)]
    for route in routes:
        table.put(route)
    monkeypatch.setattr(route_table, "MAX_LOAD", 10)

    table.replace(routes[0], Route("s0", ("c",), {"v": {"$ne": 0}}))

    with pytest.raises(Conflict):
        table.put(Route("one more", ("c",), {"v": {"$ne": -1}}))
    assert len(table.match("c", lambda: {"v": -1})) == MAX_LOAD


def test_a_route_with_a_pattern_that_is_refused_is_under_none_of_its_patterns() -> None:
    table = RouteTable()
    long = [".".join(["a", *tokens, "b", "c", "d"]) for tokens in product("x*", repeat=8)]
    with suppress(Conflict):
        for number, pattern in enumerate(long):
            table.put(Route(str(number), (pattern,), {}))
    known = table.patterns

    with pytest.raises(Conflict) as refused:
        table.put(Route("s", ("fits", "*.b.c.d.e.f.g.*.b.c.*.d"), {"v": 1}))

    assert refused.value.field == "topics"
    assert table.patterns == known


def test_few_filters_are_tried_and_more_are_indexed() -> None:
    plain = Plain()
    for number in range(FEW):
        plain.put(str(number), {"v": {"$ne": number}})
    assert plain.table.load == 0

    plain.put("one more", {"v": 0})

    assert plain.table.load == FEW
    assert plain.found({"v": 0}) == [*map(str, range(1, FEW)), "one more"]
