"""CloudEvents there and back: generated events of ours, generated CloudEvents, and the official SDK's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote

from cloudevents.core.bindings import http as sdk_http
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.cloudevent_mapping import NO_SOURCE
from router_client.cloudevents import STRUCTURED, mode_of, read_binary, read_structured, to_binary, to_structured
from router_client.event import Event, decode

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
filled = text.filter(bool)
topics = st.lists(st.text("abcxyz019-_é", min_size=1, max_size=6), min_size=1, max_size=4).map(".".join)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(text | st.sampled_from(["data", "data_base64"]), json_values, max_size=3)
metadata_names = st.sampled_from(["traceparent", "tracestate", "cloudevent", "ermetadata", "time"]) | text
native_events = st.builds(
    Event,
    id=filled,
    type=topics,
    source=text,
    priority=st.integers(0, 9),
    timestamp=times,
    target=st.none() | filled,
    payload=json_objects,
    metadata=st.dictionaries(metadata_names, json_values, max_size=3),
    correlation_id=text,
    deliver_at=st.none() | times,
    expires_at=st.none() | times,
)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
time_texts = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=offsets).map(datetime.isoformat) | (
    st.sampled_from(["2018-04-05T17:31:00Z", "2018-04-05t17:31:00z", "2018-04-05T17:31:00.123456789Z"])
)
json_types = st.sampled_from(["application/json", "application/json; charset=utf-8", "text/json", "application/x+json"])
other_types = st.sampled_from(["text/plain", "text/plain;charset=UTF-8", "application/xml", "image/png", "text/x; a=b"])
metadata_texts = st.sampled_from(
    ['{"a":1}', '{"a": 1}', "{}", "[1]", "no json", '{"cloudevent":{"subject":"x"}}', '{"cloudevent":5}']
)
known_attributes = {
    "time": time_texts,
    "subject": filled,
    "dataschema": filled,
    "correlationid": filled,
    "target": filled,
    "traceparent": text,
    "tracestate": text,
    "deliverat": time_texts,
    "expirytime": time_texts,
    "ermetadata": metadata_texts,
}
extension_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
RESERVED = {"data", "datacontenttype", "priority", "specversion", "id", "type", "source", *known_attributes}
extensions = st.dictionaries(
    extension_names.filter(lambda name: name not in RESERVED),
    st.booleans() | st.integers(-(2**31), 2**31 - 1) | text,
    max_size=3,
)


@st.composite
def cloudevent_attributes(draw: st.DrawFn) -> dict[str, Any]:
    attributes = draw(
        st.fixed_dictionaries({"id": filled, "type": topics, "source": filled}, optional=known_attributes)
    )
    if draw(st.booleans()) and "correlationid" in attributes:
        attributes["correlationid"] = attributes["id"]
    return {"specversion": "1.0", **draw(extensions), **attributes}


@st.composite
def structured_cloudevents(draw: st.DrawFn) -> dict[str, Any]:
    event = draw(cloudevent_attributes())
    if draw(st.booleans()):
        event["priority"] = draw(st.integers(0, 9) | st.integers(0, 9).map(str))
    kind = draw(st.sampled_from(["absent", "json", "text", "base64"]))
    if draw(st.booleans()):
        event["datacontenttype"] = draw(json_types if kind == "json" else json_types | other_types)
    if kind == "json":
        event["data"] = draw(json_values)
    elif kind == "text":
        event["data"] = draw(text)
    elif kind == "base64":
        event["data_base64"] = draw(st.sampled_from(["", "AA==", "eyAieHl6IjogMTIzIH0=", "+/8="]))
    return event


@st.composite
def binary_cloudevents(draw: st.DrawFn) -> tuple[dict[str, str], bytes]:
    attributes = draw(cloudevent_attributes())
    if draw(st.booleans()):
        attributes["priority"] = draw(st.integers(0, 9))
    headers = {f"ce-{name}": quote(str(value), safe="") for name, value in attributes.items()}
    body = draw(st.binary(max_size=20))
    if draw(st.booleans()):
        headers["content-type"] = draw(json_types | other_types)
        if "json" in headers["content-type"] and body:
            body = json.dumps(draw(json_values)).encode()
    return headers, body


@settings(deadline=None, max_examples=200)
@given(native_events)
def test_an_event_survives_structured_mode(event: Event) -> None:
    assert read_structured(json.dumps(to_structured(event)).encode()) == event


@settings(deadline=None, max_examples=200)
@given(native_events)
def test_an_event_survives_binary_mode(event: Event) -> None:
    headers, body = to_binary(event)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert read_binary(headers, body) == event


@settings(deadline=None, max_examples=200)
@given(structured_cloudevents())
def test_a_structured_cloudevent_survives_the_router(document: dict[str, Any]) -> None:
    event = decode(read_structured(json.dumps(document).encode()).encode())
    assert to_structured(event) == document


@settings(deadline=None, max_examples=200)
@given(structured_cloudevents())
def test_reading_what_was_written_changes_nothing(document: dict[str, Any]) -> None:
    event = read_structured(json.dumps(document).encode())
    again = read_structured(json.dumps(to_structured(event)).encode())
    # Without a time, each reading takes the present.
    assert {**again.to_object(), "timestamp": None} == {**event.to_object(), "timestamp": None}


@settings(deadline=None, max_examples=200)
@given(binary_cloudevents())
def test_a_binary_cloudevent_survives_the_router(message: tuple[dict[str, str], bytes]) -> None:
    headers, body = message
    event = decode(read_binary(headers, body).encode())
    written, written_body = to_binary(event)
    assert {name: unquote(value) for name, value in written.items()} == {n: unquote(v) for n, v in headers.items()}
    if body and "json" in headers.get("content-type", ""):
        assert json.loads(written_body) == json.loads(body)
    else:
        assert written_body == body


# The official SDK on the other side


@settings(deadline=None)
@given(native_events)
def test_the_sdk_reads_what_is_written(event: Event) -> None:
    headers, body = to_binary(event)
    from_binary = sdk_http.from_http_event(sdk_http.HTTPMessage(headers, body))
    message = sdk_http.HTTPMessage({"content-type": STRUCTURED}, json.dumps(to_structured(event)).encode())
    from_structured = sdk_http.from_http_event(message)
    for theirs in (from_binary, from_structured):
        assert (theirs.get_id(), theirs.get_type()) == (event.id, event.type)
        assert theirs.get_source() == (event.source or NO_SOURCE)
        assert theirs.get_time() == event.timestamp
        assert theirs.get_data() == event.payload


@settings(deadline=None)
@given(
    cloudevent_attributes().filter(lambda attributes: "ermetadata" not in attributes),
    st.dictionaries(text, json_values, min_size=1, max_size=3),
)
def test_what_the_sdk_writes_is_read(attributes: dict[str, Any], data: dict[str, Any]) -> None:
    moment = datetime(2018, 4, 5, 17, 31, tzinfo=UTC)
    theirs = SdkEvent({**attributes, "time": moment, "datacontenttype": "application/json"}, data)
    message = sdk_http.to_structured_event(theirs)
    assert mode_of(message.headers) == "structured"
    want = {**attributes, "time": "2018-04-05T17:31:00Z", "datacontenttype": "application/json", "data": data}
    assert to_structured(read_structured(message.body)) == want
    message = sdk_http.to_binary_event(theirs)
    assert mode_of(message.headers) == "binary"
    ours = read_binary(message.headers, message.body)
    assert (ours.id, ours.timestamp, ours.payload) == (attributes["id"], moment, data)
