"""Events that come in the very form they are kept in: their members are checked, and their bytes taken as they are.

Our clients write events that way, so a node neither decodes a payload that it only hands on, nor encodes it anew.
Whatever is written in another way is left to the full decoder, which also has the words for what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from router_client.errors import InvalidInput
from router_client.event import check_member
from router_client.json_input import MAX_DEPTH

# Escapes, control characters, and numbers that 64 bits may not hold are the full decoder's.
_ALIKE = {**dict.fromkeys([*range(32), 127], ord("\\")), **dict.fromkeys(b"0123456789", ord("0")), ord("E"): ord("e")}
_SKELETON = bytes(_ALIKE.get(byte, byte) for byte in range(256))
_LONG_NUMBER = b"0" * 19
_LARGE = b"0e000"
_LONGEST_BEFORE = 64

# Longer text may be within the limit in bytes, which is the full decoder's to find out.
_Text = Annotated[str, msgspec.Meta(max_length=128)]
_FilledText = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Publish(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", tag="publish"):
    """A publish frame with events that are not decoded yet."""

    events: list[msgspec.Raw]
    ref: int | str | None = None
    ack: str = "accepted"


class Written(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """An event's members in the order they are written, those that are the user's own as they came."""

    id: _FilledText
    type: str
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    source: _Text
    correlation_id: _FilledText
    payload: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw()


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An event that came in the form it is kept in: its bytes, and what its way into the log needs."""

    id: str
    correlation_id: str
    priority: int
    body: bytes
    type: str


_read_publish = msgspec.json.Decoder(Publish).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_event = msgspec.json.Decoder(Written).decode
_write_event = msgspec.json.Encoder().encode


def publish_frame(text: str) -> tuple[Publish, list[Kept | msgspec.Raw]] | None:
    """Read a publish frame, and those of its events that came as they are kept; the others are as they came.

    None for any other frame, and for one that needs the full decoder.
    """
    if not text.startswith('{"op":"publish"'):
        return None
    with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raw = text.encode()
        frame = _read_publish(raw)
        return frame, _kept_events(frame.events, raw)
    return None


def publish_body(body: bytes) -> Kept | list[Kept | msgspec.Raw] | None:
    """Read the body of a publish: an event that came as it is kept, or a list of events as of a frame.

    None for any other body, and for one that needs the full decoder.
    """
    if not body.startswith((b"{", b"[")):
        return None
    try:
        if not body.isascii():
            body.decode()  # a part that is passed over may be any bytes
        return kept_form(body) if body.startswith(b"{") else _kept_events(_read_list(body), body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _kept_events(events: Sequence[msgspec.Raw], around: bytes) -> list[Kept | msgspec.Raw]:
    read: Callable[[bytes], Kept | None] = _kept if _is_plain(around) else kept_form
    return [read(bytes(event)) or event for event in events]


def kept_form(raw: bytes) -> Kept | None:
    """Read an event if ``raw``, which is UTF-8, is just how it would be kept; else None."""
    return _kept(raw) if _is_plain(raw) else None


def _kept(raw: bytes) -> Kept | None:
    try:
        event = _read_event(raw)
        check_member("type", event.type)
    except (msgspec.DecodeError, RecursionError, InvalidInput):
        return None
    event_id, key = event.id, event.correlation_id
    printable = event_id.isprintable() and key.isprintable() and event.source.isprintable()
    shallow = raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH
    if printable and shallow and event.timestamp.tzinfo is UTC and _are_objects(event) and raw == _write_event(event):
        return Kept(event_id, key, event.priority, raw, event.type)
    return None


def _is_plain(raw: bytes) -> bool:
    """Tell whether JSON means the same to every decoder: nothing in it is escaped, and its numbers are usual ones."""
    skeleton = raw.translate(_SKELETON, b"+-")
    if b"\\" in skeleton or _LONG_NUMBER in skeleton:
        return False
    at = skeleton.find(_LARGE)
    while at >= 0:
        # Much text looks like it, hexadecimal ids most of all; a number stands behind a delimiter.
        before = skeleton[max(0, at - _LONGEST_BEFORE) : at].rstrip(b"0.")
        if not before or before[-1] in b"[:, ":
            return False
        at = skeleton.find(_LARGE, at + len(_LARGE))
    return True


def _are_objects(event: Written) -> bool:
    metadata = bytes(event.metadata)
    return bytes(event.payload).startswith(b"{") and (not metadata or metadata.startswith(b'{"'))
