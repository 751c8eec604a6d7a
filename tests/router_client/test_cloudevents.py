"""CloudEvents both ways: conformance cases, and what the mapping means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router_client.cloudevent_mapping import NO_SOURCE
from router_client.cloudevents import (
    BATCH,
    STRUCTURED,
    is_cloudevent,
    mode_of,
    read_batch,
    read_binary,
    read_structured,
    to_binary,
    to_structured,
)
from router_client.errors import EventRouterError, InvalidInput
from router_client.event import Event
from tests.router_client.shared_cases import case_files, load

# The first member of this batch is, letter for letter in data_base64, what the file's own case E001 calls invalid.
CONTRADICTS_E001 = "E007"


def read(kind: str, given_input: Any) -> list[Event | EventRouterError]:
    if kind == "json-raw":
        return [read_structured(given_input.encode())]
    if kind == "json":
        return [read_structured(json.dumps(given_input).encode())]
    if kind == "json-batch":
        return read_batch(json.dumps(given_input).encode())
    headers, body = given_input["headers"], given_input["body"].encode()
    mode = mode_of(headers)
    assert mode is not None
    if mode == "batch":
        return read_batch(body)
    return [read_structured(body) if mode == "structured" else read_binary(headers, body)]


def outcome(case: Mapping[str, Any]) -> tuple[list[Event], list[EventRouterError]]:
    try:
        results = read(case["kind"], case["input"])
    except InvalidInput as error:
        return [], [error]
    return [r for r in results if isinstance(r, Event)], [r for r in results if not isinstance(r, Event)]


def complaint(case: Mapping[str, Any]) -> str | None:
    events, errors = outcome(case)
    if case["id"] == CONTRADICTS_E001 and case["kind"] == "json-batch":
        return None if [e.field for e in errors] == ["data_base64"] and len(events) == 1 else "first member only"
    if case.get("optional"):
        return None
    if bool(errors) == case["valid"]:
        return f"valid is {case['valid']}, but: {errors or 'accepted'}"
    if "field" in case and [e.field for e in errors] != [case["field"]]:
        return f"blames {[e.field for e in errors]}"
    if errors:
        return None
    if case["kind"] == "json" and to_structured(events[0]) != without_nulls(case["input"]):
        return f"came back as {to_structured(events[0])}"
    expect = case.get("expect") or {}
    if "attributes" in expect:
        written = to_structured(events[0])
        data = written.pop("data", None)
        if (written, data) != (expect["attributes"], expect.get("data")):
            return f"came out as {written} with {data!r}"
    if "check" in case and to_structured(events[0])["data"] != case["check"]["data"]:
        return "data changed"
    return None


def without_nulls(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None or name == "data"}


@pytest.mark.parametrize("path", case_files("cloudevents.json"))
def test_conformance_cases(path: Path) -> None:
    cases = load(path)["cases"]
    failures = [f"{case['id']} {case['why']}: {problem}" for case in cases if (problem := complaint(case))]
    assert failures == []
    assert len(cases) >= 60


# What the mapping means

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "orders.created"}


def structured(**more: Any) -> Event:
    return read_structured(json.dumps({**REQUIRED, **more}).encode())


def test_attributes_become_members() -> None:
    event = structured(
        time="2018-04-05T19:31:00+02:00",
        correlationid="order-7",
        priority=8,
        target="billing",
        traceparent="00-12345678901234567890123456789012-1234567890123456-01",
        deliverat="2030-01-01T00:00:00Z",
        expirytime="2031-01-01T00:00:00Z",
        data={"amount": 120},
    )
    assert (event.id, event.source, event.type) == ("1", "/shop", "orders.created")
    assert event.timestamp == datetime(2018, 4, 5, 17, 31, tzinfo=UTC)
    assert (event.correlation_id, event.priority, event.target) == ("order-7", 8, "billing")
    assert event.metadata["traceparent"].endswith("-01")
    assert event.deliver_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert event.expires_at == datetime(2031, 1, 1, tzinfo=UTC)
    assert event.payload == {"amount": 120}


def test_defaults_of_absent_attributes() -> None:
    event = structured()
    assert (event.correlation_id, event.priority, event.target, event.payload) == ("1", 5, None, {})


@pytest.mark.parametrize(
    ("member", "value", "payload"),
    [
        ("data", "text", {"data": "text"}),
        ("data", [1, 2], {"data": [1, 2]}),
        ("data", None, {"data": None}),
        ("data_base64", "AAE=", {"data_base64": "AAE="}),
    ],
)
def test_data_that_is_no_object_is_wrapped(member: str, value: Any, payload: dict[str, Any]) -> None:
    assert structured(**{member: value}).payload == payload


def test_a_native_event_leaves_no_marks_in_metadata() -> None:
    event = Event(type="orders.created", id="1", payload={"data": 1}, metadata={"tenant": "eu"})
    written = to_structured(event)
    assert written["source"] == NO_SOURCE
    assert written["data"] == {"data": 1}
    assert json.loads(written["ermetadata"]) == {"tenant": "eu"}
    assert read_structured(json.dumps(written).encode()).metadata == {"tenant": "eu"}


def test_a_member_changed_on_the_way_wins_over_the_text_that_was_kept() -> None:
    event = structured(priority="7", time="2018-04-05T19:31:00+02:00", subject="s", data="text")
    body = {**event.to_object(), "priority": 9, "timestamp": datetime(2020, 1, 1, tzinfo=UTC), "payload": {"n": 1}}
    written = to_structured(Event(**body))
    assert (written["priority"], written["time"], written["subject"]) == (9, "2020-01-01T00:00:00Z", "s")
    assert written["data"] == {"n": 1}


def test_data_of_another_shape_than_before_gets_a_content_type_that_fits() -> None:
    event = structured(datacontenttype="text/plain", data="text")
    written = to_structured(replace(event, payload={"n": 1}))
    assert (written["datacontenttype"], written["data"]) == ("application/json", {"n": 1})


def test_metadata_of_any_kind_survives() -> None:
    cases: list[dict[str, Any]] = [{"a": "\x00\x1f\x7f\x80"}, {"cloudevent": {}}, {"cloudevent": "x", "traceparent": 5}]
    for metadata in cases:
        event = Event(type="a", metadata=metadata)
        assert read_structured(json.dumps(to_structured(event)).encode()) == event


def test_an_extension_of_a_stranger_named_like_ours_survives() -> None:
    for text in ("whatever", '{"cloudevent":5}', '{ "a": 1 }'):
        assert to_structured(structured(ermetadata=text, subject="s"))["ermetadata"] == text


def test_metadata_added_on_the_way_displaces_an_extension_of_a_stranger() -> None:
    event = structured(ermetadata="whatever", subject="s")
    written = to_structured(replace(event, metadata={**event.metadata, "tenant": "eu"}))
    assert (json.loads(written["ermetadata"]), written["subject"]) == ({"tenant": "eu"}, "s")


@pytest.mark.parametrize("charset", ["UTF-8", "utf-8", '"Utf-8"', "US-ASCII"])
def test_the_spelling_of_a_content_type_survives(charset: str) -> None:
    headers = {**{f"ce-{n}": v for n, v in REQUIRED.items()}, "content-type": f"text/plain; charset={charset}"}
    event = read_binary(headers, b"text")
    assert event.payload == {"data": "text"}
    assert to_binary(event) == (headers, b"text")


def test_text_of_another_charset_is_kept_as_bytes_though_it_could_be_read_as_utf8() -> None:
    headers = {**{f"ce-{n}": v for n, v in REQUIRED.items()}, "content-type": "text/plain; charset=utf-16-le"}
    assert read_binary(headers, b"a\x00").payload == {"data_base64": "YQA="}


def test_text_of_another_charset_is_kept_as_bytes() -> None:
    headers = {**{f"ce-{n}": v for n, v in REQUIRED.items()}, "content-type": "text/plain; charset=latin-1"}
    event = read_binary(headers, "Grüße".encode("latin-1"))
    assert event.payload == {"data_base64": "R3L832U="}
    assert to_binary(event)[1] == "Grüße".encode("latin-1")


def test_structured_text_goes_out_as_utf8_and_says_so() -> None:
    headers, body = to_binary(structured(datacontenttype="text/plain; charset=latin-1; a=b", data="Grüße"))
    assert (headers["content-type"], body) == ("text/plain; charset=utf-8; a=b", "Grüße".encode())


def test_quoted_header_values_are_unquoted() -> None:
    headers = {f"ce-{n}": v for n, v in REQUIRED.items()} | {"ce-subject": r'"a \"b\" %20c"'}
    assert to_structured(read_binary(headers, b""))["subject"] == 'a "b"  c'


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ({"Content-Type": "application/cloudevents+json; charset=utf-8"}, "structured"),
        ({"content-type": "Application/CloudEvents-Batch+JSON"}, "batch"),
        ({"CE-Id": "1", "content-type": "application/json"}, "binary"),
        ({"ce-id": "1", "content-type": STRUCTURED}, "structured"),
        ({"ce-id": "1", "content-type": BATCH}, "batch"),
        ({"content-type": "application/json"}, None),
        ({}, None),
    ],
)
def test_the_mode_of_a_message(headers: dict[str, str], mode: str | None) -> None:
    assert mode_of(headers) == mode
    assert is_cloudevent(headers) is (mode is not None)


def test_other_event_formats_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        mode_of({"content-type": "application/cloudevents+avro"})
    assert caught.value.field == "content-type"


def test_a_batch_gives_each_member_its_result() -> None:
    results = read_batch(json.dumps([REQUIRED, {**REQUIRED, "type": "no topic"}, 5, {**REQUIRED, "id": "2"}]).encode())
    assert [r.field if isinstance(r, EventRouterError) else r.id for r in results] == ["1", "type", "body", "2"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b'"text"'])
def test_a_batch_that_is_no_array_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_batch(body)
    assert caught.value.field == "body"
