"""What an explanation says is what the filter does, in bounded words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given

from router_client.errors import InvalidInput
from router_node.routing.filter_explanation import MAX_FOUND, Condition, Explanation, explain
from router_node.routing.filter_language import compile_filter
from tests.routing.test_filter_language import FOLDERS, documents, filters, nested, within_or

JOINED = {
    "$and": all,
    "$all": all,
    "$or": any,
    "$nor": lambda parts: not any(parts),
    "$not": lambda parts: not all(parts),
    "$elemMatch": all,
}


def every(conditions: tuple[Condition, ...]) -> Iterator[Condition]:
    for condition in conditions:
        yield condition
        yield from every(condition.parts)


def agrees(explanation: Explanation, expected: bool) -> bool:
    """Tell whether the verdict is as expected, and every verdict in the tree is what its parts make of it."""
    return (
        explanation.matches is expected
        and all(each.holds for each in explanation.conditions) is expected
        and all(
            each.holds is JOINED[each.operator](part.holds for part in each.parts)
            for each in every(explanation.conditions)
            if each.parts
        )
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_case_is_explained_as_it_is_expected(folder: Path) -> None:
    cases = json.loads((folder / "filters.json").read_text())
    wrong = [c["id"] for c in cases if not agrees(explain(c["filter"], c["document"]), c["expected"])]

    assert len(cases) >= 200
    assert wrong == []


@given(filters, documents)
def test_an_explanation_never_disagrees_with_the_filter(spec: dict[str, Any], document: dict[str, Any]) -> None:
    assert agrees(explain(spec, document), compile_filter(spec).matches(document))


def operators_in(spec: Any) -> int:
    """Count what may have a node of its own: members of objects, and elements of lists, at any depth."""
    if isinstance(spec, dict):
        return sum(1 + operators_in(each) for each in spec.values())
    return sum(1 + operators_in(each) for each in spec) if isinstance(spec, list) else 0


@given(filters, documents)
def test_an_explanation_is_no_larger_than_its_filter(spec: dict[str, Any], document: dict[str, Any]) -> None:
    conditions = list(every(explain(spec, document).conditions))

    assert len(conditions) <= operators_in(spec)
    assert len({each.field for each in conditions}) == len(conditions)
    assert all(len(each.found) <= MAX_FOUND for each in conditions)


ORDER = {
    "type": "orders.created",
    "source": "shop",
    "payload": {"amount": 50, "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 3}], "tags": ["x", "y"]},
}


def only(spec: dict[str, Any], document: dict[str, Any] = ORDER) -> dict[str, Any]:
    (condition,) = explain(spec, document).conditions
    return condition.to_object()


def test_a_condition_says_where_it_is_what_it_asks_and_what_it_found() -> None:
    assert only({"payload.amount": {"$gt": 100}}) == {
        "field": "filter.payload.amount.$gt",
        "operator": "$gt",
        "holds": False,
        "path": "payload.amount",
        "operand": {"value": 100},
        "found": [{"value": 50}],
        "more": 0,
    }


def test_what_is_missing_is_not_null() -> None:
    assert only({"payload.none": None})["found"] == [{"missing": True}]
    assert only({"payload.none": None}, {"payload": {"none": None}})["found"] == [{"value": None}]


def test_operators_of_one_path_are_conditions_of_their_own() -> None:
    conditions = explain({"payload.amount": {"$gt": 10, "$lt": 20}, "source": "shop"}, ORDER).conditions

    assert [(each.field, each.operator, each.holds) for each in conditions] == [
        ("filter.payload.amount.$gt", "$gt", True),
        ("filter.payload.amount.$lt", "$lt", False),
        ("filter.source", "$eq", True),
    ]


def test_the_options_of_a_regular_expression_belong_to_it() -> None:
    condition = only({"source": {"$options": "i", "$regex": "^SHOP$"}})

    assert (condition["field"], condition["holds"]) == ("filter.source.$regex", True)
    assert condition["operand"] == {"value": {"$regex": "^SHOP$", "$options": "i"}}


def test_joins_have_parts_whose_fields_are_those_of_a_refusal() -> None:
    spec = {"$or": [{"source": "web"}, {"payload.amount": {"$not": {"$gte": 50}}, "type": "orders.created"}, {}]}
    fields = [(each.field, each.operator, each.holds) for each in every(explain(spec, ORDER).conditions)]

    assert fields == [
        ("filter.$or", "$or", True),
        ("filter.$or[0].source", "$eq", False),
        ("filter.$or[1]", "$and", False),
        ("filter.$or[1].payload.amount.$not", "$not", False),
        ("filter.$or[1].payload.amount.$not.$gte", "$gte", True),
        ("filter.$or[1].type", "$eq", True),
        ("filter.$or[2]", "$and", True),
    ]


def test_an_element_that_met_it_explains_an_elem_match() -> None:
    condition = only({"payload.items": {"$elemMatch": {"sku": "b", "n": {"$gt": 2}}}})

    assert condition["holds"]
    assert condition["element"] == {"value": {"sku": "b", "n": 3}}
    assert [(part["path"], part["found"]) for part in condition["parts"]] == [
        ("sku", [{"value": "b"}]),
        ("n", [{"value": 3}]),
    ]


def test_else_the_element_that_came_closest_does() -> None:
    condition = only({"payload.items": {"$elemMatch": {"n": {"$lt": 5}, "sku": "b", "n2": 1}}})

    assert not condition["holds"]
    assert condition["element"] == {"value": {"sku": "b", "n": 3}}
    assert [part["holds"] for part in condition["parts"]] == [True, True, False]


def test_conditions_on_an_element_itself_have_the_empty_path() -> None:
    condition = only({"payload.tags": {"$elemMatch": {"$gt": "x", "$lt": "z"}}})

    assert condition["element"] == {"value": "y"}
    assert [(part["field"], part["path"]) for part in condition["parts"]] == [
        ("filter.payload.tags.$elemMatch.$gt", ""),
        ("filter.payload.tags.$elemMatch.$lt", ""),
    ]


def test_an_elem_match_without_an_element_has_no_parts() -> None:
    assert "element" not in only({"payload.amount": {"$elemMatch": {"$gt": 1}}})


def test_each_of_all_is_explained() -> None:
    spec = {"payload.items": {"$all": [{"$elemMatch": {"sku": "a"}}, {"$elemMatch": {"sku": "c"}}]}}
    condition = only(spec)

    assert [(part["field"], part["holds"]) for part in condition["parts"]] == [
        ("filter.payload.items.$all[0].$elemMatch", True),
        ("filter.payload.items.$all[1].$elemMatch", False),
    ]


def test_only_some_levels_of_elem_match_are_explained_by_their_elements() -> None:
    spec: dict[str, Any] = {"$gt": 1}
    document: Any = 2
    for _ in range(6):
        spec, document = {"$elemMatch": spec}, [document]
    explanation = explain({"a": spec}, {"a": document})

    assert agrees(explanation, True)
    assert len(list(every(explanation.conditions))) == 4


def test_large_values_are_cut_and_said_to_be() -> None:
    many = [{"a": "x" * 1000}, {"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}, {"a": 5}, {"a": 6}]
    condition = only({"payload.a": {"$in": list(range(1000))}}, {"payload": many})

    assert condition["found"][0] == {"cut": '"' + "x" * 199}
    assert condition["found"][1:] == [{"value": n} for n in range(1, 5)]
    assert condition["more"] == 2
    assert condition["operand"]["cut"].startswith("[0,1,2")


def test_a_hostile_pair_is_explained_in_few_words() -> None:
    spec = {"$or": [{"payload.a": {"$gt": f"{n}" + "x" * 1000}} for n in range(500)]}
    document = {"payload": {"a": ["y" * 2000] * 100}}
    explanation = explain(spec, document)

    size = len(orjson.dumps([each.to_object() for each in explanation.conditions]))
    assert size < 500 * 1000


def test_names_without_end_are_not_repeated_by_every_condition() -> None:
    spec = {"x" * 100_000: {"$elemMatch": {"$or": [{"y" * 100_000: n} for n in range(400)]}}}
    explanation = explain(spec, {"x" * 100_000: [{}]})

    conditions = list(every(explanation.conditions))
    assert len(conditions) == 402
    assert len(orjson.dumps([each.to_object() for each in explanation.conditions])) < 402 * 1500


@pytest.mark.parametrize(
    "spec",
    [
        within_or(32),
        {"a": nested(32, lambda value: [value])},
        {f"f{n}": n for n in range(500)},
        {"$or": [{}] * 500},
        {"a": nested(15, lambda value: {"$elemMatch": {"a": value}})},
        {"a": {"$regex": r"\pL"}},
    ],
)
def test_a_filter_at_its_bounds_can_be_explained(spec: dict[str, Any]) -> None:
    assert agrees(explain(spec, ORDER), compile_filter(spec).matches(ORDER))


def test_a_deep_value_is_shown_by_its_beginning() -> None:
    deep = nested(5000, lambda value: [value])

    assert only({"payload.a": {"$size": 1}}, {"payload": {"a": deep}})["found"] == [{"cut": "[" * 200}]


def test_a_filter_that_is_refused_names_its_fault() -> None:
    with pytest.raises(InvalidInput) as refused:
        explain({"payload.amount": {"$over": 1}}, ORDER, "global_filters[2]")

    assert refused.value.field == "global_filters[2].payload.amount.$over"
