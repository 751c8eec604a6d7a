"""Events in the form they are kept in: taken as they are only when the full decoder would keep the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from router_client import wire
from router_client.errors import InvalidInput
from router_client.event import MAX_TEXT_BYTES, Event, checked, complete, encode_object
from router_client.json_input import loads
from router_client.kept_form import kept_form, publish_body

EVENT = Event(
    type="flights.departed.JFK",
    id="e1",
    correlation_id="N14228",
    source="bts",
    timestamp=datetime(2013, 1, 1, 9, 15, tzinfo=UTC),
    payload={"delay": 2.5, "legs": [1, {"to": "IAH"}], "note": None},
    metadata={"n": 1},
)
KEPT = EVENT.encode()


def _kept(raw: bytes) -> bool:
    return kept_form(raw) is not None


def _fully(raw: bytes) -> bytes:
    """Return what the full decoder keeps."""
    return encode_object(complete(checked(loads(raw))))


def test_what_our_clients_write_is_in_the_form_it_is_kept_in() -> None:
    read = kept_form(KEPT)
    assert read is not None
    assert (read.id, read.priority, read.correlation_id, read.body) == ("e1", 5, "N14228", KEPT)
    assert _kept(Event(type="a.b").encode())
    assert _kept(Event(type="a.b", timestamp=datetime(2024, 2, 29, tzinfo=UTC)).encode())
    assert _kept(Event(type="a.b", timestamp=datetime(1999, 12, 31, 23, 59, 59, 5, tzinfo=UTC)).encode())
    assert _kept(Event(type="a.b", id="2013-01-01-9E3538-JFK", payload={"small": 2.5e-7}).encode())
    assert _kept(Event(type="a.b", payload={"flight": "9E4105", "big": 2.5e99, "legs": ["9E4105"]}).encode())
    assert _fully(KEPT) == KEPT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"id":"e1"', b'"id":""'),
        (b'"id":"e1"', b'"id": "e1"'),
        (b'"id":"e1"', b'"id":"\\u0065"'),
        (b'"id":"e1"', b'"id":"' + b"x" * (MAX_TEXT_BYTES + 1) + b'"'),
        (b'"id":"e1",', b'"id":"e0","id":"e1",'),
        (b'"id":"e1",', b""),
        (b'"priority":5', b'"priority":10'),
        (b'"priority":5', b'"priority":5.0'),
        (b'"priority":5', b'"priority":true'),
        (b"flights.departed.JFK", b"flights.*.JFK"),
        (b"flights.departed.JFK", b"flights..JFK"),
        (b"09:15:00Z", b"09:15:00+00:00"),
        (b"09:15:00Z", b"09:15:00.000000Z"),
        (b"09:15:00Z", b"09:15:00.5Z"),
        (b"09:15:00Z", b"09:15:00.0000050Z"),
        (b"09:15:00Z", b"09:15:00.000000001Z"),
        (b"09:15:00Z", b"09:15:00+02:00"),
        (b"09:15:00Z", b"09:15:00-00:00"),
        (b"09:15:00Z", b"09:15:00"),
        (b"09:15:00Z", b"09:15:60Z"),
        (b"09:15:00Z", b"24:15:00Z"),
        (b"2013-01-01T", b"2013-02-30T"),
        (b"2013-01-01T", b"0000-01-01T"),
        (b'"source":"bts"', b'"source":"\x7f"'),
        (b"2.5", b"1e999"),
        (b"[1,", b"[ -1.5E+310,"),
        (b"2.5", b"123456789012345678901234567890"),
        (b"2.5", b"NaN"),
        (b"2.5", b'"\x01"'),
        (b'{"to":"IAH"}', b"[" * 40 + b"]" * 40),
        (b'{"to":"IAH"}', b"[" * 5000 + b"]" * 5000),
        (b'"metadata":{"n":1}', b'"metadata":{}'),
        (b'"metadata":{"n":1}', b'"metadata":[1]'),
        (b'"metadata":{"n":1}', b'"target":"one"'),
        (b'"metadata":{"n":1}', b'"mine":1'),
        (b'"payload":{', b'"payload":[{'),
        (KEPT, KEPT + b" "),
        (KEPT, b"[]"),
        (KEPT, b""),
    ],
)
def test_anything_else_is_left_to_the_full_decoder(old: bytes, new: bytes) -> None:
    changed = KEPT.replace(old, new)
    assert changed != KEPT
    assert not _kept(changed)


@given(when=st.datetimes(timezones=st.just(UTC)))
def test_times_are_taken_as_our_clients_write_them(when: datetime) -> None:
    assert _kept(Event(id="e1", type="a.b", timestamp=when).encode())  # a random id may have a suspicious run of digits


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300)
@given(payload=st.dictionaries(st.text(), VALUES, max_size=4), source=st.text(max_size=5))
def test_what_is_taken_as_it_is_means_the_same_decoded(payload: dict[str, Any], source: str) -> None:
    raw = orjson.dumps({**orjson.loads(KEPT), "payload": payload, "source": source})
    if _kept(raw):
        assert orjson.loads(_fully(raw)) == orjson.loads(raw)


@settings(max_examples=1500)
@given(
    at=st.integers(0, len(KEPT) - 1),
    cut=st.integers(0, 3),
    put=st.sampled_from([b"", b"0", b"1e9", b'"', b"{", b"}", b"[", b",", b":", b"\\", b" ", b"\n", b"e", b"-"]),
)
@example(at=0, cut=0, put=b"")
def test_bytes_changed_anywhere_are_taken_only_if_the_full_decoder_takes_them(at: int, cut: int, put: bytes) -> None:
    raw = KEPT[:at] + put + KEPT[at + cut :]
    if not _kept(raw):
        return
    assert orjson.loads(_fully(raw)) == orjson.loads(raw)


@pytest.mark.parametrize("ref", [1, "one", None])
def test_a_publish_frame_is_read_without_decoding_its_events(ref: int | str | None) -> None:
    text = wire.publish(ref, [KEPT, KEPT], "stored").decode() if ref is not None else '{"op":"publish","events":[]}'
    frame = wire.plain_publish(text)
    assert frame is not None
    assert frame.ref == ref
    if ref is not None:
        assert (frame.ack, frame.events) == ("stored", [kept_form(KEPT)] * 2)


def test_one_event_of_a_frame_that_is_written_otherwise_leaves_the_others_as_they_came() -> None:
    escaped = KEPT.replace(b'"id":"e1"', b'"id":"\\u0065"')
    frame = wire.plain_publish(wire.publish(1, [KEPT, escaped, KEPT]).decode())
    assert frame is not None
    assert frame.events == [kept_form(KEPT), Raw(escaped), kept_form(KEPT)]


@pytest.mark.parametrize(
    "text",
    [
        '{"op":"publish"}',
        '{"op":"publish","events":{}}',
        '{"op":"publish","ref":true,"events":[]}',
        '{"op":"publish","ref":9007199254740993000,"events":[]}',
        '{"op":"publish","more":1,"events":[]}',
        '{"op":"publish","events":[',
        '{"op":"publish","events":["\ud800"]}',
        '{"op":"ping"}',
    ],
)
def test_other_frames_are_decoded_in_full(text: str) -> None:
    assert wire.plain_publish(text) is None


def test_the_full_decoder_says_what_is_wrong() -> None:
    with pytest.raises(InvalidInput, match="0 to 9"):
        checked(loads(KEPT.replace(b'"priority":5', b'"priority":10')))


def test_a_body_is_an_event_or_a_list_of_events() -> None:
    escaped = KEPT.replace(b'"id":"e1"', b'"id":"\\u0065"')
    assert publish_body(KEPT) == kept_form(KEPT)
    assert publish_body(b"[%b,%b]" % (KEPT, escaped)) == [kept_form(KEPT), Raw(escaped)]
    assert publish_body(b"[]") == []


@pytest.mark.parametrize(
    "body", [b"", b" [] ", b"7", b"[", b"{}", b'["\xff"]', b"[%b" % KEPT, b"[" * 5000, KEPT.replace(b"IAH", b"\xff")]
)
def test_other_bodies_are_decoded_in_full(body: bytes) -> None:
    assert publish_body(body) is None
