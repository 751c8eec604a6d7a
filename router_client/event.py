"""The Event, its limits and its codec: the one definition of what may enter the router."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from router_client.errors import InvalidInput, TooLarge
from router_client.json_input import check_depth, check_finite, is_suspect
from router_client.topics import check_topic

MAX_EVENT_BYTES = 256 * 1024
MAX_TEXT_BYTES = 512
DEFAULT_PRIORITY = 5

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
# PostgreSQL text holds no NUL, and control characters in an id or key are always a mistake of the sender's.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def new_id() -> str:
    """Return a UUIDv7 as text (RFC 9562, section 5.7): sortable by creation time, 74 random bits."""
    millis = time.time_ns() // 1_000_000
    rand = secrets.randbits(74)
    value = millis << 80 | 0x7 << 76 | (rand >> 62) << 64 | 0b10 << 62 | rand & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. Build it with keyword arguments or :func:`from_object`; only the latter checks it.

    ``type`` is the topic; ``priority`` is 0..9, 9 first; times are UTC; ``target`` limits delivery to the subscription
    of that name; events of one ``correlation_id`` and priority keep their order.
    """

    type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    priority: int = DEFAULT_PRIORITY
    timestamp: datetime = field(default_factory=_now)
    source: str = ""
    target: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str = ""
    deliver_at: datetime | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.correlation_id:
            object.__setattr__(self, "correlation_id", self.id)

    def to_object(self) -> dict[str, Any]:
        """Return the event object of the wire, times still as datetime (orjson writes them as RFC 3339)."""
        body: dict[str, Any] = {
            "id": self.id,
            "type": self.type,
            "priority": self.priority,
            "timestamp": self.timestamp,
            "source": self.source,
            "correlation_id": self.correlation_id,
            "payload": self.payload or {},
        }
        for name in _OPTIONAL:
            if value := getattr(self, name):
                body[name] = value
        return body

    def encode(self, max_bytes: int = MAX_EVENT_BYTES) -> bytes:
        """Return the event as JSON bytes.

        Raises TooLarge beyond ``max_bytes`` and InvalidInput for values that JSON cannot hold or nested too deep.
        """
        return encode_object(self.to_object(), max_bytes)


def decode(data: bytes) -> Event:
    """Read an event that this project wrote; :func:`from_object` is the one for strangers' input."""
    return from_trusted(orjson.loads(data))


def from_trusted(body: dict[str, Any]) -> Event:
    """Build an event from an event object that was checked when it was accepted."""
    return Event(**{**body, **{k: datetime.fromisoformat(body[k]) for k in _TIMES if k in body}})


def from_object(body: object) -> Event:
    """Check an event object and build the Event; an absent or null optional member takes its default.

    Raises InvalidInput whose ``field`` is the member at fault.
    """
    return Event(**checked(body))


def checked(body: object) -> dict[str, Any]:
    """Check an event object and return the members it gives, times as datetime in UTC; see from_object."""
    if not isinstance(body, dict):
        raise InvalidInput("an event is a JSON object", field="event")
    values: dict[str, Any] = {}
    for name, value in body.items():
        check = _CHECKS.get(name)
        if check is None:
            raise InvalidInput("unknown member; put your own data into payload or metadata", field=str(name))
        if value is not None:
            values[name] = check(value, name)
    if "type" not in values:
        raise InvalidInput("is required", field="type")
    return values


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """Return the event object for checked members: defaults filled in, in the order they are written."""
    event_id = values.get("id") or new_id()
    body: dict[str, Any] = {
        "id": event_id,
        "type": values["type"],
        "priority": values.get("priority", DEFAULT_PRIORITY),
        "timestamp": values.get("timestamp") or _now(),
        "source": values.get("source", ""),
        "correlation_id": values.get("correlation_id") or event_id,
        "payload": values.get("payload", {}),
    }
    for name in _OPTIONAL:
        if values.get(name):
            body[name] = values[name]
    return body


def encode_object(body: dict[str, Any], max_bytes: int = MAX_EVENT_BYTES) -> bytes:
    """Return a complete event object as JSON bytes; see Event.encode for what it raises."""
    try:
        data = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"not representable as JSON: {error}", field="payload") from error
    if len(data) > max_bytes:
        raise TooLarge(f"{len(data)} bytes encoded; the limit is {max_bytes}", field="event")
    if is_suspect(data):
        for name in _NESTED:
            check_depth(body.get(name), name)
            check_finite(body.get(name), name)
    # orjson's result keeps the buffer it was written to, 4 KiB or more: too much for what waits in memory.
    return b"%b" % data


def check_member(name: str, value: object) -> Any:
    """Check one member of an event object and return it as :func:`checked` would; raises InvalidInput naming it."""
    return _CHECKS[name](value, name)


def _text(value: object, name: str) -> str:
    if type(value) is str and len(value) * 4 <= MAX_TEXT_BYTES and value.isprintable():
        return value
    if not isinstance(value, str):
        raise InvalidInput("must be text", field=name)
    if len(value) * 4 > MAX_TEXT_BYTES and len(value.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise InvalidInput(f"has at most {MAX_TEXT_BYTES} bytes", field=name)
    if _CONTROL.search(value):
        raise InvalidInput("may not contain control characters", field=name)
    return value


def _filled_text(value: object, name: str) -> str:
    if value == "":
        raise InvalidInput("may not be empty; leave it out for the default", field=name)
    return _text(value, name)


def _priority(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= 9:
        raise InvalidInput("must be an integer from 0 to 9", field=name)
    return value


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object", field=name)
    return value


def parse_time(value: object, name: str) -> datetime:
    """Read an RFC 3339 time with an offset into UTC; raises InvalidInput naming ``name``."""
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            time = datetime.fromisoformat(value.upper())
            return time if time.tzinfo is UTC else time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the year 0 or 10000 in UTC: refused like any other text that is no time
    raise InvalidInput("must be an RFC 3339 time with an offset, such as 2013-01-01T05:15:00Z", field=name)


_OPTIONAL = ("metadata", "target", "deliver_at", "expires_at")
_NESTED = ("payload", "metadata")
_TIMES = ("timestamp", "deliver_at", "expires_at")
_CHECKS: dict[str, Any] = {
    "id": _filled_text,
    "type": check_topic,
    "priority": _priority,
    "timestamp": parse_time,
    "source": _text,
    "target": _filled_text,
    "payload": _mapping,
    "metadata": _mapping,
    "correlation_id": _filled_text,
    "deliver_at": parse_time,
    "expires_at": parse_time,
}
