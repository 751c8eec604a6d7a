"""A Kafka record and the event it carries: an event object as JSON, or a CloudEvent, structured or binary.

CloudEvents are as their Kafka binding has it: a content type of ``application/cloudevents+json`` in the header
``content-type``, or attributes in headers ``ce_...`` and data as the value. Trace context is in ``traceparent``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote

import orjson

from router_client.cloudevents import STRUCTURED, read_binary, read_structured, to_binary, to_structured
from router_client.errors import InvalidInput
from router_client.event import MAX_TEXT_BYTES, Event, check_member, from_object
from router_client.json_input import loads
from router_client.trace_context import extract, outgoing

MAX_ERROR_CHARS = 1000
_YEAR_10000_MS = 253_402_300_800_000
_PREFIX = "ce_"
_ATTRIBUTES = {"correlation_id": "correlationid", "priority": "priority", "target": "target", "timestamp": "time"}
"""Members that a CloudEvent may leave out, and the attribute of each."""

Headers = list[tuple[str, bytes]]


class Record(Protocol):
    """A record as it was consumed; ``timestamp`` is in milliseconds since 1970, below 0 when there is none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes]]


Default = Callable[[Record, Mapping[str, Any]], object]
"""Gives a member that a record does not bring, from the record and its payload; None leaves it out."""


def _id(record: Record, _: Mapping[str, Any]) -> str:
    return f"kafka:{record.topic}:{record.partition}:{record.offset}"


def _key(record: Record, _: Mapping[str, Any]) -> str | None:
    return key_text(record.key)


def _time(record: Record, _: Mapping[str, Any]) -> datetime | None:
    if not 0 < record.timestamp < _YEAR_10000_MS:
        return None
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


DEFAULTS: Mapping[str, Default] = {"id": _id, "correlation_id": _key, "timestamp": _time}
"""The id says where the record is, so that reading it again is found to be a repeat; the key keeps its order."""


def key_text(key: bytes | None) -> str | None:
    """Return a record's key as a correlation id: as it is if it may be one, else in hexadecimal, None for no key.

    One that is too long even so becomes a hash of it: what has one key keeps one correlation id.
    """
    if not key:
        return None
    try:
        return str(check_member("correlation_id", key.decode()))
    except (UnicodeDecodeError, InvalidInput):
        return key.hex() if len(key) <= MAX_TEXT_BYTES // 2 else hashlib.blake2b(key, digest_size=16).hexdigest()


def read_event(record: Record, defaults: Mapping[str, Default] = DEFAULTS) -> Event:
    """Return the event of a record, with ``defaults`` for what it does not say. Raises InvalidInput: it is none."""
    headers = texts(record.headers)
    if headers.get("content-type", "").partition(";")[0].strip().lower() == STRUCTURED:
        document = loads(_value(record), "value")
        event = read_structured(_value(record))
        return _traced(_filled(event, document, record, defaults), headers)
    if f"{_PREFIX}specversion" in headers:
        attributes = {
            f"ce-{name[len(_PREFIX) :]}": quote(value, safe="")
            for name, value in headers.items()
            if name.startswith(_PREFIX)
        }
        content = {"content-type": headers["content-type"]} if "content-type" in headers else {}
        event = read_binary({**attributes, **content}, record.value or b"")
        given = {name[3:] for name in attributes}
        return _traced(_filled(event, given, record, defaults), headers)
    document = loads(_value(record), "value")
    if not isinstance(document, dict):
        raise InvalidInput("an event is a JSON object, or a CloudEvent", field="value")
    return _traced(from_object(_with_defaults(document, record, defaults)), headers)


def read_payload(record: Record, defaults: Mapping[str, Default]) -> Event:
    """Return an event whose payload is the record's value, and all else from ``defaults``. Raises InvalidInput."""
    payload = loads(_value(record), "value")
    if not isinstance(payload, dict):
        raise InvalidInput("a payload is a JSON object", field="value")
    event = from_object(_with_defaults({"payload": payload}, record, defaults))
    return _traced(event, texts(record.headers))


class Outgoing(NamedTuple):
    """A record to be sent."""

    key: bytes | None
    value: bytes
    headers: Headers


def write_event(body: bytes, content: str = "event", key: str = "correlation_id") -> Outgoing:
    """Return the record of an event object (JSON): ``event`` as it is, ``structured`` or ``binary`` a CloudEvent.

    ``key`` is the member that becomes the record's key, ``none`` for no key.
    Raises InvalidInput for an event that cannot be written so.
    """
    document = orjson.loads(body)
    text = document.get(key)
    metadata = document.get("metadata", {})
    trace = extract((name, value) for name, value in metadata.items() if isinstance(value, str))
    value, headers = (body, {"content-type": "application/json"}) if content == "event" else _written(document, content)
    headers.update(outgoing(trace) if trace is not None else ())
    return Outgoing(text.encode() if text else None, value, [(name, each.encode()) for name, each in headers.items()])


def _written(document: dict[str, Any], content: str) -> tuple[bytes, dict[str, str]]:
    event = from_object(document)
    if content == "structured":
        return orjson.dumps(to_structured(event)), {"content-type": f"{STRUCTURED}; charset=utf-8"}
    given, value = to_binary(event)
    return value, {
        _PREFIX + name[3:] if name.startswith("ce-") else name: unquote(text) if name.startswith("ce-") else text
        for name, text in given.items()
    }


def dead_record(record: Record, error: str, code: str = "") -> Outgoing:
    """Return a record for a dead-letter topic: as it was, with why and whence in headers ``er-...``."""
    why = {
        "er-error": error[:MAX_ERROR_CHARS],
        "er-code": code,
        "er-topic": record.topic,
        "er-partition": str(record.partition),
        "er-offset": str(record.offset),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in why.items() if text)]
    return Outgoing(record.key, record.value or b"", headers)


def texts(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name, those that are no UTF-8 left out; of several the last counts."""
    found = {}
    for name, value in headers:
        try:
            found[name.lower()] = (value or b"").decode()
        except UnicodeDecodeError:
            continue
    return found


def _value(record: Record) -> bytes:
    if record.value is None:
        raise InvalidInput("there is none: a tombstone is no event", field="value")
    return record.value


def _with_defaults(document: dict[str, Any], record: Record, defaults: Mapping[str, Default]) -> dict[str, Any]:
    payload = document.get("payload")
    body = dict(document)
    for member, default in defaults.items():
        if body.get(member) is None:
            body[member] = default(record, payload if isinstance(payload, dict) else {})
    return body


def _filled(event: Event, given: Any, record: Record, defaults: Mapping[str, Default]) -> Event:
    """A CloudEvent always has id, type and source; the rest it may leave to ``defaults``."""
    values = {}
    for member, attribute in _ATTRIBUTES.items():
        if attribute not in given and member in defaults:
            value = defaults[member](record, event.payload)
            if value is not None:
                values[member] = check_member(member, value)
    return replace(event, **values) if values else event


def _traced(event: Event, headers: Mapping[str, str]) -> Event:
    """Carry the record's trace context into the metadata of an event that has none."""
    if "traceparent" not in headers or "traceparent" in event.metadata:
        return event
    trace = extract(headers.items())
    return event if trace is None else replace(event, metadata={**event.metadata, **dict(outgoing(trace))})
