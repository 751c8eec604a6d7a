"""Frames, both ways: what one side builds, the other reads."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client import wire
from router_client.errors import InvalidInput, Overloaded, from_problem
from router_client.event import Event
from router_client.spec import SubscriptionSpec

SPEC = SubscriptionSpec(name="late", topics=("flights.>",), filter={"payload.n": {"$gt": 1}})


def read(frame: bytes) -> wire.Frame:
    return wire.read_frame(wire.decode(frame))


def test_a_node_reads_what_a_client_builds() -> None:
    event = Event(type="a", payload={"x": 1})
    assert read(wire.hello("secret")) == wire.Hello(1, "secret")
    assert read(wire.hello()) == wire.Hello(1, None)
    sent = read(wire.publish(7, [event.encode(), event.encode()], "stored"))
    assert sent == wire.Publish(7, "stored", [orjson.loads(event.encode())] * 2)
    assert read(wire.publish("r", [])) == wire.Publish("r", "accepted", [])
    assert read(wire.subscribe(1, SPEC, 5)) == wire.Subscribe(1, SPEC, 5)
    assert read(wire.unsubscribe(2, "late")) == wire.Unsubscribe(2, "late")
    assert read(wire.credit("late", 3)) == wire.Credit(None, "late", 3)
    assert read(wire.ping()) == wire.Ping(None)
    said = {"ack": ["1"], "nack": ["2", {"delivery_id": "3", "delay_s": 1}], "extend": ["4"]}
    settled = read(wire.settle(said, {"late": 3}))
    assert settled == wire.Settle(None, ["1"], [wire.Failure("2"), wire.Failure("3", 1)], [], ["4"], {"late": 3})
    assert read(wire.settle({"ack": ["1"]}, {})) == wire.Settle(None, ["1"], [], [], [], {})


def test_a_client_reads_what_a_node_builds() -> None:
    loads = orjson.loads
    assert loads(wire.welcome("n", "c", {"x": 1})) == {
        "op": "welcome",
        "version": 1,
        "node": "n",
        "cluster": "c",
        "limits": {"x": 1},
    }
    assert loads(wire.published(None, [])) == {"op": "published", "results": []}
    assert loads(wire.subscribed(1, "late")) == {"op": "subscribed", "ref": 1, "name": "late"}
    assert loads(wire.unsubscribed(1, "late")) == {"op": "unsubscribed", "ref": 1, "name": "late"}
    assert loads(wire.deliver("late", [("k.1", 1, b'{"n":1}'), ("k.2", 2, b"{}")])) == {
        "op": "deliver",
        "name": "late",
        "deliveries": [
            {"delivery_id": "k.1", "attempt": 1, "event": {"n": 1}},
            {"delivery_id": "k.2", "attempt": 2, "event": {}},
        ],
    }
    assert loads(wire.draining()) == {"op": "draining"}
    assert loads(wire.pong("x")) == {"op": "pong", "ref": "x"}
    told = loads(wire.error(Overloaded("full", retry_after_s=3), ref=5))
    error = from_problem(told["error"])
    assert told["ref"] == 5
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 3


def test_a_nameless_subscription_is_ephemeral_and_named() -> None:
    one, two = (wire.read_frame({"op": "subscribe", "topics": ["a"]}) for _ in range(2))
    assert isinstance(one, wire.Subscribe)
    assert isinstance(two, wire.Subscribe)
    assert not one.spec.durable
    assert one.spec.name != two.spec.name
    assert one.credit == one.spec.max_in_flight


@pytest.mark.parametrize("ref", [True, 1.5, [], {}, 2**54, "x" * 65])
def test_a_ref_that_cannot_be_used_is_refused(ref: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        wire.read_frame({"op": "ping", "ref": ref})
    assert refusal.value.field == "ref"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
members = st.sampled_from([name for frame in (wire.Publish, wire.Settle, wire.Credit) for name in frame._fields])
more_members = st.sampled_from(["version", "token", "topics", "filter", "credit", "durable", "ordering", "retry"])


def outcome(frame: dict[str, Any]) -> str:
    """Return the name of the frame read, or nothing when it was refused by a field."""
    try:
        return type(wire.read_frame(frame)).__name__.lower()
    except InvalidInput as refusal:
        return "" if refusal.field else "no field"


@given(
    op=st.sampled_from(["hello", "publish", "subscribe", "unsubscribe", "settle", "credit", "ping"]),
    rest=st.dictionaries(members | more_members, json_values, max_size=5),
)
def test_whatever_a_frame_holds_it_is_read_or_refused_by_field(op: str, rest: dict[str, Any]) -> None:
    assert outcome({"op": op, **rest}) in (op, "")
