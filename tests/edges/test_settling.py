"""Settlements of a frame, sorted by the subscription they belong to."""

from __future__ import annotations

from router_client.wire import Failure, Settle
from router_node.contract import Nack, Settlement
from router_node.edges.settling import by_subscription, settlement


def test_a_hundred_ids_are_one_settlement_for_each_subscription() -> None:
    said = Settle(None, [f"{'ab'[n % 2]}.1.0.{n}" for n in range(100)], [], [], [], {})
    parts, unknown = by_subscription(said, {"a", "b"})
    assert unknown == []
    assert list(parts) == ["a", "b"]
    assert parts["a"].ack == [f"1.0.{n}" for n in range(0, 100, 2)]
    assert parts["b"].ack == [f"1.0.{n}" for n in range(1, 100, 2)]


def test_each_kind_stays_what_it_is_and_unknown_ones_are_returned_whole() -> None:
    said = Settle(
        None,
        ["a.1", "x.1"],
        [Failure("a.2", 1.5, "e"), Failure("x.2")],
        [Failure("a.3", None, "r")],
        ["a.4", "plain", ""],
        {},
    )
    parts, unknown = by_subscription(said, {"a"})
    assert parts == {"a": Settlement(["1"], [Nack("2", 1.5, "e")], [Nack("3", None, "r")], ["4"])}
    assert unknown == ["x.1", "x.2", "plain", ""]


def test_over_http_the_subscription_is_in_the_address() -> None:
    said = Settle(None, ["1"], [Failure("2", 1.5, "e")], [Failure("3")], ["4"], {})
    assert settlement(said) == Settlement(["1"], [Nack("2", 1.5, "e")], [Nack("3")], ["4"])
