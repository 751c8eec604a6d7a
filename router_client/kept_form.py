"""Events that come in the very form they are kept in: their members are checked, and their bytes taken as they are.

Our clients write events that way, so a node neither decodes a payload that it only hands on, nor encodes it anew.
Whatever is written in another way is left to the full decoder, which also has the words for what is wrong with it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

import msgspec

from router_client.errors import InvalidInput
from router_client.event import check_member
from router_client.json_input import MAX_DEPTH

# Escapes, control characters, and numbers that 64 bits may not hold are the full decoder's.
_ALIKE = {**dict.fromkeys([*range(32), 127], ord("\\")), **dict.fromkeys(b"0123456789", ord("0")), ord("E"): ord("e")}
_SKELETON = bytes(_ALIKE.get(byte, byte) for byte in range(256))
_DECODED_FULLY = (b"\\", b"0" * 19)
_EXPONENTS = (b"0e000", b"0e+000", b"0e-000")
_LARGE = re.compile(rb"[\[:,] *-?[0-9.]+[eE][+-]?[0-9]{3}")
_CHECKED = ("id", "correlation_id", "source", "type", "priority")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


class Publish(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", tag="publish"):
    """A publish frame with events that are not decoded yet."""

    events: list[msgspec.Raw]
    ref: int | str | None = None
    ack: str = "accepted"


class Written(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event's members, those that are the user's own as they were written."""

    id: str
    type: str
    priority: int
    timestamp: str
    source: str
    correlation_id: str
    payload: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw()


_read_publish = msgspec.json.Decoder(Publish).decode
_read_event = msgspec.json.Decoder(Written).decode


def publish_frame(text: str) -> Publish | None:
    """Read a publish frame; None for any other, and for one that needs the full decoder."""
    if not text.startswith('{"op":"publish"'):
        return None
    with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _read_publish(text.encode())
    return None


def kept_form(raw: bytes) -> Written | None:
    """Read an event if ``raw``, which is UTF-8, is just how it would be kept; else None."""
    if not _is_plain(raw):
        return None
    try:
        event = _read_event(raw)
        for name in _CHECKED:
            check_member(name, getattr(event, name))
    except (msgspec.DecodeError, RecursionError, InvalidInput):
        return None
    shallow = raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH
    return event if shallow and _is_kept_time(event.timestamp) and raw == _written(event) else None


def _is_plain(raw: bytes) -> bool:
    """Tell whether JSON means the same to every decoder: nothing in it is escaped, and its numbers are usual ones."""
    skeleton = raw.translate(_SKELETON)
    if any(mark in skeleton for mark in _DECODED_FULLY):
        return False
    return not any(mark in skeleton for mark in _EXPONENTS) or _LARGE.search(raw) is None


def _written(event: Written) -> bytes:
    head = (
        f'{{"id":"{event.id}","type":"{event.type}","priority":{event.priority},"timestamp":"{event.timestamp}"'
        f',"source":"{event.source}","correlation_id":"{event.correlation_id}","payload":'
    ).encode()
    payload, metadata = bytes(event.payload), bytes(event.metadata)
    objects = payload.startswith(b"{") and (not metadata or metadata.startswith(b'{"'))
    tail = b',"metadata":%b}' % metadata if metadata else b"}"
    return head + payload + tail if objects else b""


def _is_kept_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None or text.endswith(".000000Z"):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
