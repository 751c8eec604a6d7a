"""The Event: what may enter, what is refused and why, its bytes, its ids."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.errors import InvalidInput, TooLarge
from router_client.event import (
    MAX_EVENT_BYTES,
    MAX_TEXT_BYTES,
    Event,
    decode,
    from_object,
    from_trusted,
    new_id,
    parse_time,
)
from router_client.json_input import MAX_DEPTH, loads

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
filled = text.filter(bool)
topics = st.lists(st.text("abz019-_*é", min_size=2, max_size=6), min_size=1, max_size=4).map(".".join)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(text, json_values, max_size=4)
events = st.builds(
    Event,
    type=topics,
    payload=objects,
    id=filled,
    priority=st.integers(0, 9),
    timestamp=times,
    source=text,
    target=st.none() | filled,
    metadata=objects,
    correlation_id=text,
    deliver_at=st.none() | times,
    expires_at=st.none() | times,
)


def refusal(body: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        from_object(body)
    return caught.value


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@settings(deadline=None)
@given(events)
def test_an_event_survives_its_encoding(event: Event) -> None:
    assert decode(event.encode()) == event


@settings(deadline=None)
@given(events)
def test_what_one_node_encodes_another_accepts(event: Event) -> None:
    body = loads(event.encode())
    assert from_object(body) == from_trusted(body) == event


@settings(deadline=None)
@given(events)
def test_times_leave_in_utc(event: Event) -> None:
    received = from_object(loads(event.encode()))
    assert received.timestamp.utcoffset() == timedelta(0)
    assert received.timestamp == event.timestamp


def test_defaults() -> None:
    before = datetime.now(UTC)
    event = from_object({"type": "orders.created"})
    assert before <= event.timestamp <= datetime.now(UTC)
    assert UUID(event.id).version == 7
    assert event.correlation_id == event.id
    assert (event.priority, event.source, event.target, event.payload, event.metadata) == (5, "", None, {}, {})
    assert (event.deliver_at, event.expires_at) == (None, None)


def test_null_is_absent() -> None:
    members = ["id", "priority", "timestamp", "source", "target", "payload", "metadata", "correlation_id"]
    event = from_object({"type": "a", "deliver_at": None, "expires_at": None, **dict.fromkeys(members)})
    assert (event.priority, event.source, event.target, event.payload) == (5, "", None, {})
    assert event.correlation_id == event.id


def test_no_two_events_share_their_default_objects() -> None:
    one, other = Event(type="a"), Event(type="a")
    assert one.id != other.id
    assert one.payload is not other.payload


@pytest.mark.parametrize("body", [None, [], "text", 5, True, [{"type": "a"}]])
def test_an_event_is_an_object(body: object) -> None:
    assert refusal(body).field == "event"


NO_TIMES = [1, True, "", "now", "2013-01-01", "2013-01-01T05:15:00", "2013-01-01 05:15:00Z", "2013-13-01T00:00:00Z"]
NO_TIMES += ["2013-02-29T00:00:00Z", "2013-01-01T24:00:00Z", "2013-01-01T05:15:60Z", "2013-01-01T05:15Z"]
NO_TIMES += [
    "2013-01-01T05:15:00.Z",
    "2013-01-01T05:15:00.1234567890Z",
    "2013-01-01T05:15:00+0100",
    "0000-01-01T00:00:00Z",
]
NO_TIMES += ["2013-01-01T05:15:00Z\n", "2013-01-01T05:15:00+24:00", "0001-01-01T00:00:00+01:00", "20130101T051500Z"]
NO_TIMES += ["9999-12-31T23:59:59-01:00", "２０１３-01-01T05:15:00Z", datetime(2013, 1, 1), {}, []]
NO_TEXTS = [
    5,
    True,
    0.5,
    [],
    {},
    "a\x00b",
    "a\nb",
    "\x7f",
    "\x1f",
    "x" * (MAX_TEXT_BYTES + 1),
    "é" * (MAX_TEXT_BYTES // 2) + "x",
]
NO_TOPICS = [5, [], "", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "*", "a\x00", "a" * 513, ".".join("a" * 65)]
BAD: dict[str, list[Any]] = {
    "id": [*NO_TEXTS, ""],
    "type": [*NO_TOPICS, None],
    "priority": [-1, 10, 5.0, "5", True, [], 10**30, float("nan")],
    "timestamp": NO_TIMES,
    "source": NO_TEXTS,
    "target": [*NO_TEXTS, ""],
    "payload": [[], "text", 5, True, [{}]],
    "metadata": [[], "text", 5, True],
    "correlation_id": [*NO_TEXTS, ""],
    "deliver_at": NO_TIMES,
    "expires_at": NO_TIMES,
    "Type": ["a"],
    "data": [{}],
    "": [1],
}


@pytest.mark.parametrize("member", BAD)
def test_every_fault_names_its_member(member: str) -> None:
    wrong = []
    for value in BAD[member]:
        try:
            from_object({"type": "orders.created", member: value})
            wrong.append((value, "accepted"))
        except InvalidInput as error:
            if error.field != member:
                wrong.append((value, f"blames {error.field}"))
    assert wrong == []


def test_type_is_required() -> None:
    assert refusal({}).field == "type"
    assert refusal({"id": "1", "payload": {}}).field == "type"


@pytest.mark.parametrize("member", ["id", "source", "target", "correlation_id"])
def test_the_longest_texts_are_accepted(member: str) -> None:
    for value in ("x" * MAX_TEXT_BYTES, "é" * (MAX_TEXT_BYTES // 2), "😀" * (MAX_TEXT_BYTES // 4)):
        assert getattr(from_object({"type": "a", member: value}), member) == value


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        ("2013-01-01T05:15:00Z", datetime(2013, 1, 1, 5, 15, tzinfo=UTC)),
        ("2013-01-01t05:15:00z", datetime(2013, 1, 1, 5, 15, tzinfo=UTC)),
        ("2013-01-01T05:15:00+01:00", datetime(2013, 1, 1, 4, 15, tzinfo=UTC)),
        ("2013-01-01T05:15:00-00:00", datetime(2013, 1, 1, 5, 15, tzinfo=UTC)),
        ("2013-01-01T05:15:00.5Z", datetime(2013, 1, 1, 5, 15, 0, 500_000, tzinfo=UTC)),
        ("2013-01-01T05:15:00.123456789Z", datetime(2013, 1, 1, 5, 15, 0, 123_456, tzinfo=UTC)),
        (datetime(2013, 1, 1, 5, 15, tzinfo=timezone(timedelta(hours=2))), datetime(2013, 1, 1, 3, 15, tzinfo=UTC)),
    ],
)
def test_times_are_read_into_utc(given_time: object, expected: datetime) -> None:
    moment = parse_time(given_time, "timestamp")
    assert (moment, moment.tzinfo) == (expected, UTC)


def test_a_datetime_that_utc_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_time(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))), "deliver_at")
    assert caught.value.field == "deliver_at"


# Encoding


def test_the_size_limit_is_exact() -> None:
    event = Event(type="a", id="1", payload={"text": ""}, timestamp=datetime(2013, 1, 1, tzinfo=UTC))
    room = MAX_EVENT_BYTES - len(event.encode())
    body = event.to_object()
    assert len(Event(**{**body, "payload": {"text": "x" * room}}).encode()) == MAX_EVENT_BYTES
    with pytest.raises(TooLarge) as caught:
        Event(**{**body, "payload": {"text": "x" * (room + 1)}}).encode()
    assert (caught.value.field, caught.value.status) == ("event", 413)
    with pytest.raises(TooLarge):
        event.encode(max_bytes=10)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), {1: 2}, {1, 2}, b"bytes", "\ud800"])
def test_a_payload_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        Event(type="a", payload={"value": value}).encode()
    assert caught.value.field == "payload"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_hold_is_refused_and_not_made_null(value: float) -> None:
    with pytest.raises(InvalidInput):
        Event(type="a", payload={"value": value}).encode()


@pytest.mark.parametrize("member", ["payload", "metadata"])
def test_the_depth_limit_is_exact(member: str) -> None:
    deepest: Any = {"type": "a", member: {"value": nested(MAX_DEPTH - 1)}}
    assert decode(from_object(deepest).encode())
    deeper: Any = {"type": "a", member: {"value": nested(MAX_DEPTH)}}
    with pytest.raises(InvalidInput) as caught:
        from_object(deeper).encode()
    assert caught.value.field == member


def test_optional_members_are_left_out_of_the_bytes() -> None:
    body = loads(Event(type="a").encode())
    assert set(body) == {"id", "type", "priority", "timestamp", "source", "correlation_id", "payload"}


# Ids


def test_an_id_is_a_uuid_of_version_7_made_now() -> None:
    before = time.time_ns() // 1_000_000
    identifier = UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert (identifier.version, identifier.variant) == (7, RFC_4122)
    assert before <= identifier.int >> 80 <= after


def test_ids_are_unique_canonical_and_sort_by_time() -> None:
    identifiers = [new_id() for _ in range(5000)]
    assert len(set(identifiers)) == 5000
    assert all(identifier == str(UUID(identifier)) for identifier in identifiers)
    milliseconds = [UUID(identifier).int >> 80 for identifier in identifiers]
    assert milliseconds == sorted(milliseconds)
    assert [i[:13] for i in identifiers] == sorted(i[:13] for i in identifiers)


def test_all_74_random_bits_of_an_id_vary() -> None:
    ones, zeros = 0, 0
    for _ in range(200):
        number = UUID(new_id()).int
        ones |= number
        zeros |= ~number
    random_bits = (1 << 62) - 1 | 0xFFF << 64
    assert ones & zeros & random_bits == random_bits


def test_an_encoded_event_takes_no_more_memory_than_its_size() -> None:
    event = Event(type="a.b", payload={"text": "x" * 300})
    event.encode()
    tracemalloc.start()
    try:
        encoded = [event.encode() for _ in range(200)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1.5 * sum(map(len, encoded))
