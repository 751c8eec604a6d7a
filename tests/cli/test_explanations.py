"""What came of a filter that was tried, in words."""

from __future__ import annotations

from typing import Any

import pytest

from cli.explanations import headline, tree
from router_client.spec import SubscriptionSpec
from router_node.routing.filter_trial import as_kept, try_filter, try_subscription

EVENT = as_kept(
    {
        "type": "orders.created",
        "target": "audit",
        "payload": {"amount": 50, "items": [{"sku": "a"}, {"sku": "b", "n": 2}], "tags": ["x", "y"], "none": []},
    }
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"payload.amount": 50}, "matches"),
        (
            {"type": "orders.created", "payload.amount": {"$gt": 100}},
            "does not match: filter.payload.amount.$gt asks for 100, and payload.amount is 50",
        ),
        ({"payload.total": 1}, "does not match: filter.payload.total asks for 1, and payload.total is missing"),
        (
            {"payload.items.sku": "c"},
            'does not match: filter.payload.items.sku asks for "c", and payload.items.sku is "a", "b"',
        ),
        ({"payload.none.a": 1}, "does not match: filter.payload.none.a asks for 1, and payload.none.a is nowhere"),
        ({"$or": [{"type": "a"}, {"source": "b"}]}, "does not match: filter.$or: none of its 2 parts holds"),
        ({"$or": [{"source": "b"}]}, 'does not match: filter.$or[0].source asks for "b", and source is ""'),
        (
            {"$nor": [{"source": "b"}, {"type": "orders.created"}]},
            "does not match: filter.$nor: filter.$nor[1].type holds",
        ),
        (
            {"payload.amount": {"$not": {"$lt": 60}}},
            "does not match: filter.payload.amount.$not: what it denies holds, as payload.amount is 50",
        ),
        (
            {"payload.items": {"$elemMatch": {"sku": "b", "n": {"$gt": 2}}}},
            "does not match: filter.payload.items.$elemMatch.n.$gt asks for 2, and n is 2",
        ),
        (
            {"payload.tags": {"$elemMatch": {"$gt": "y"}}},
            'does not match: filter.payload.tags.$elemMatch.$gt asks for "y", and the element is "x"',
        ),
        (
            {"payload.amount": {"$elemMatch": {"$gt": 1}}},
            'does not match: filter.payload.amount.$elemMatch asks for {"$gt":1}, and payload.amount is 50',
        ),
    ],
)
def test_the_first_condition_that_failed_is_said(spec: dict[str, Any], expected: str) -> None:
    assert headline(try_filter(spec, EVENT).to_object()) == expected


def lines(answer: dict[str, Any]) -> list[str]:
    return [f"{'  ' * mark.depth}{'+' if mark.holds else '-'} {mark.text}" for mark in tree(answer)]


def test_all_conditions_are_a_tree() -> None:
    spec = {
        "payload.amount": {"$gt": 10, "$not": {"$lt": 60}},
        "$or": [{"payload.items": {"$elemMatch": {"sku": "b"}}}, {"payload.tags": {"$elemMatch": {"$eq": "z"}}}, {}],
    }

    assert lines(try_filter(spec, EVENT).to_object()) == [
        "+ payload.amount $gt 10: 50",
        "- payload.amount $not: 50",
        "  + payload.amount $lt 60: 50",
        "+ $or",
        '  + payload.items $elemMatch: met by {"sku":"b","n":2}',
        '    + sku $eq "b": "b"',
        '  - payload.tags $elemMatch: closest is "x"',
        '    - the element $eq "z": "x"',
        "  + anything",
    ]


def test_what_is_asked_before_and_after_a_filter_is_in_the_tree() -> None:
    patterns = [f"flights.n{n}" for n in range(7)]
    spec = SubscriptionSpec.from_object("billing", {"topics": patterns})
    answer = try_subscription(spec, EVENT, [{"source": "shop"}]).to_object()
    five = ", ".join(patterns[:5])

    assert lines(answer) == [
        f"- topics {five} and 2 more: orders.created",
        "- target audit: this is billing",
        "- global filters",
        '  - source $eq "shop": ""',
    ]
    assert headline(answer) == f"does not match: no topic pattern ({five} and 2 more) covers orders.created"
    answer["topics"]["holds"] = True
    assert headline(answer) == "does not match: the event is for audit alone"
    answer["target"]["holds"] = True
    assert headline(answer) == 'does not match: global_filters[0].source asks for "shop", and source is ""'


def test_what_was_cut_ends_with_dots_and_what_was_left_out_is_counted() -> None:
    event = as_kept({"type": "a", "payload": {"a": [{"b": "x" * 500}] * 9}})
    (line,) = lines(try_filter({"payload.a.b": "y"}, event).to_object())

    assert line == '- payload.a.b $eq "y": ' + ", ".join(['"' + "x" * 199 + "…"] * 5) + " and 4 more"
