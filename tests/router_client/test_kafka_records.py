"""Records and events: what each says of the other, there and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client.errors import InvalidInput
from router_client.event import MAX_TEXT_BYTES, Event
from router_client.kafka.records import dead_record, key_text, read_event, texts, write_event
from router_client.kafka.url import KafkaUrl

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Row(NamedTuple):
    """A record as a consumer has it."""

    value: bytes | None
    key: bytes | None = None
    headers: Any = ()
    topic: str = "t"
    partition: int = 3
    offset: int = 42
    timestamp: int = 1_700_000_000_000


PAYLOADS = st.dictionaries(st.text(max_size=5), st.integers(-1000, 1000) | st.text(max_size=5) | st.none(), max_size=4)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn"]), min_size=1, max_size=30)
EVENTS = st.builds(
    Event,
    type=st.sampled_from(["a.b", "orders.created"]),
    id=TEXTS,
    payload=PAYLOADS,
    priority=st.integers(0, 9),
    source=TEXTS,
    correlation_id=TEXTS,
    metadata=st.just({}) | st.just({"traceparent": TRACE}) | st.just({"team": "blue"}),
    timestamp=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
)


@given(EVENTS, st.sampled_from(["event", "structured", "binary"]))
def test_an_event_that_is_written_is_read_as_it_was(event: Event, content: str) -> None:
    record = write_event(event.encode(), content)
    assert read_event(Row(record.value, record.key, record.headers)) == event


@given(st.binary(max_size=2 * MAX_TEXT_BYTES))
def test_any_key_becomes_a_text_that_a_correlation_id_may_be(key: bytes) -> None:
    event = read_event(Row(b'{"type":"a.b"}', key))
    assert event.correlation_id == (key_text(key) or "kafka:t:3:42")
    assert event.encode()


@given(st.binary(max_size=64), st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=5))
def test_whatever_is_in_a_record_it_is_an_event_or_refused(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    for more in ([], [("content-type", b"application/cloudevents+json")], [("ce_specversion", b"1.0")]):
        row = Row(value, None, [*headers, *more])
        try:
            event = read_event(row)
        except InvalidInput as error:
            fault: str | None = error.field
        else:
            fault = None
            assert event.id
        assert fault != ""


def test_what_a_record_knows_fills_what_the_event_does_not_say() -> None:
    event = read_event(Row(b'{"type":"a.b"}', b"order-7", [("traceparent", TRACE.encode())]))
    assert (event.id, event.correlation_id, event.metadata) == ("kafka:t:3:42", "order-7", {"traceparent": TRACE})
    assert event.timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_what_the_event_says_counts() -> None:
    own = {"type": "a.b", "id": "x", "correlation_id": "c", "metadata": {"traceparent": "mine"}}
    event = read_event(Row(orjson.dumps(own), b"order-7", [("traceparent", TRACE.encode())]))
    assert (event.id, event.correlation_id, event.metadata) == ("x", "c", {"traceparent": "mine"})


@pytest.mark.parametrize("timestamp", [-1, 0, 2**62])
def test_a_time_that_is_none_is_left_out(timestamp: int) -> None:
    before = datetime.now(UTC)
    assert read_event(Row(b'{"type":"a.b"}', timestamp=timestamp)).timestamp >= before


def test_a_dead_record_says_why_and_whence_beside_what_it_was() -> None:
    dead = dead_record(Row(None, b"k", [("h", b"\xff")]), "no " * 1000, "invalid")
    headers = dict(dead.headers)
    assert (dead.key, dead.value, headers["h"], len(headers["er-error"])) == (b"k", b"", b"\xff", 1000)
    assert texts(dead.headers)["er-offset"] == "42"


def test_a_url_names_brokers_and_how_to_speak_with_them() -> None:
    url = KafkaUrl.parse("kafka://me:s%40cret@one:1,[::1]:2,THREE/?mechanism=scram-sha-256")
    assert url.brokers == ("one:1", "[::1]:2", "three:9092")
    assert "cret" not in repr(url)
    found = url.connection
    assert found["security_protocol"] == "SASL_SSL"
    assert (found["sasl_mechanism"], found["sasl_plain_username"], found["sasl_plain_password"]) == (
        "SCRAM-SHA-256",
        "me",
        "s@cret",
    )
    assert found["ssl_context"].check_hostname
    assert KafkaUrl.parse("kafka://one").connection["security_protocol"] == "PLAINTEXT"
