"""A trial says whether an event goes to a subscription as the router itself would, and which question decided."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client.errors import InvalidInput, TooLarge
from router_client.event import from_object
from router_client.spec import SubscriptionSpec
from router_node.clock import SystemClock
from router_node.flow.match import RouterEngine
from router_node.routing.filter_language import compile_filter
from router_node.routing.filter_trial import as_kept, try_filter, try_subscription
from router_node.routing.registry import Registry


def spec(**members: Any) -> SubscriptionSpec:
    return SubscriptionSpec.from_object("billing", {"topics": ["orders.>"], **members})


def test_an_event_is_what_the_router_would_have_kept() -> None:
    kept = as_kept({"type": "a.b", "timestamp": "2026-01-01T01:00:00+01:00", "target": None})

    assert (kept["timestamp"], kept["priority"], kept["payload"]) == ("2026-01-01T00:00:00Z", 5, {})
    assert kept["correlation_id"] == kept["id"]
    assert kept.keys() == orjson.loads(from_object({"type": "a.b"}).encode()).keys()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (5, "event"),
        ({}, "event.type"),
        ({"type": "a..b"}, "event.type"),
        ({"type": "a", "priority": 10}, "event.priority"),
        ({"type": "a", "payload": []}, "event.payload"),
        ({"type": "a", "amount": 1}, "event.amount"),
    ],
)
def test_an_event_that_could_not_be_published_is_refused(body: object, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        as_kept(body)

    assert refused.value.field == field


def test_an_event_has_its_limit() -> None:
    with pytest.raises(TooLarge) as refused:
        as_kept({"type": "a", "payload": {"s": "x" * 2000}}, 1024)

    assert refused.value.field == "event"


def test_a_filter_may_have_topics_before_it() -> None:
    event = as_kept({"type": "orders.created", "payload": {"n": 1}})

    assert try_filter({"payload.n": 1}, event).to_object().keys() == {"matches", "conditions"}
    tried = try_filter({"payload.n": 1}, event, ["flights.>", "orders.paid"]).to_object()
    assert tried["matches"] is False
    assert tried["conditions"][0]["holds"] is True
    assert tried["topics"] == {"patterns": ["flights.>", "orders.paid"], "type": "orders.created", "holds": False}


def test_a_subscription_is_left_out_by_a_target_and_by_a_global_filter() -> None:
    event = as_kept({"type": "orders.created", "target": "audit", "payload": {"n": 1}})
    tried = try_subscription(spec(), event, [{}, {"payload.n": {"$lt": 1}}]).to_object()

    assert tried["matches"] is False
    assert tried["topics"]["holds"] is True
    assert tried["target"] == {"subscription": "billing", "target": "audit", "holds": False}
    assert [(each["field"], each["holds"]) for each in tried["global_filters"]] == [
        ("global_filters[1].payload.n.$lt", False)
    ]


numbers = st.sampled_from([{}, {"payload.n": 1}, {"payload.n": {"$gt": 1}}])


@given(
    st.sampled_from([["orders.>"], ["*"], ["flights.*", "orders.created"]]),
    numbers,
    st.lists(numbers, max_size=2),
    st.sampled_from(["orders.created", "flights"]),
    st.sampled_from([None, "billing", "audit"]),
    st.integers(0, 2),
)
def test_it_says_what_the_router_does(
    topics: list[str], wanted: dict[str, Any], gates: list[dict[str, Any]], kind: str, target: str | None, n: int
) -> None:
    subscription = spec(topics=topics, filter=wanted)
    none: Any = None
    registry = Registry(none, SystemClock())
    registry.put(subscription)
    router = RouterEngine(registry.match, [compile_filter(gate) for gate in gates], none, none, none, none)
    event = as_kept({"type": kind, "target": target, "payload": {"n": n}})

    assert try_subscription(subscription, event, gates).matches is router.goes_to("billing", event)
