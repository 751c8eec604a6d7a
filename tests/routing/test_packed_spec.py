from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router_client.spec import RetryPolicy, SubscriptionSpec
from router_node.routing.packed_spec import pack, unpack

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

specs = st.builds(
    SubscriptionSpec,
    name=st.just("late"),
    topics=st.lists(st.sampled_from(["a.>", "a.*", "ä.b"]), min_size=1, max_size=3).map(tuple),
    filter=st.dictionaries(st.text(), json_values, max_size=3),
    ordering=st.sampled_from(["key", "strict", "none"]),
    ack_timeout_s=st.sampled_from([30.0, 0.1]) | st.floats(0.05, 43_200),
    retry=st.just(RetryPolicy()) | st.builds(RetryPolicy, max_attempts=st.integers(1, 100), jitter=st.floats(0, 1)),
    on_dead_letter=st.sampled_from(["release", "halt"]),
    max_in_flight=st.sampled_from([100, 1]),
    durable=st.booleans(),
    buffer=st.sampled_from([1000, 1]),
    overflow=st.sampled_from(["drop_oldest", "drop_newest", "block"]),
    destination=st.sampled_from([{"kind": "consumer"}, {"kind": "webhook", "url": "https://x.example/", "rate": None}]),
    paused=st.booleans(),
    paused_reason=st.sampled_from(["", "für heute"]),
    skip_before_us=st.sampled_from([0, 1_700_000_000_000_000]),
)


@given(spec=specs)
def test_what_is_packed_comes_out_the_same(spec: SubscriptionSpec) -> None:
    again = unpack("late", spec.topics, spec.filter, pack(spec))

    assert again == spec
    assert again.to_object() == spec.to_object()


def test_defaults_take_no_room() -> None:
    spec = SubscriptionSpec(name="late", topics=("a.>",), filter={"payload.origin": "JFK"})

    assert pack(spec) == b"{}"
    assert pack(replace(spec, paused=True)) == b'{"paused":true}'
