"""CloudEvents and Events: what maps to what, and what the specification demands of an attribute.

====================================  ==========================================================================
CloudEvent                            Event
====================================  ==========================================================================
id, type, source                      id, type (must be a topic, see topics.py), source; no source: ``NO_SOURCE``
time                                  timestamp
correlationid, priority, target       correlation_id, priority (0-9), target; absent ones take the event's default
deliverat, expirytime                 deliver_at, expires_at
traceparent, tracestate               metadata.traceparent, metadata.tracestate
ermetadata                            all other metadata, as the text of a JSON object
data: a JSON object                   payload
data: any other JSON value or text    payload ``{"data": value}``
data_base64, or bytes in binary mode  payload ``{"data_base64": text}``
no data                               payload ``{}``
====================================  ==========================================================================

What the event's members cannot say is kept in the object ``metadata.cloudevent``, so that the way back is exact: other
attributes and extensions under their names; a mapped attribute whose text the event would write differently (a time
with another offset); None for one that was absent and would be written; and under ``data`` which of the last three
rows holds (``value``, ``base64``, ``absent``). Events that never were CloudEvents have no such object.

Checks follow the specification, more strictly than the official SDK: nothing required is made up, and attribute values
are boolean, 32-bit integer or text. Beyond it, what the router itself needs is checked by
:func:`router_client.event.from_object`. All faults are InvalidInput, ``field`` being the attribute.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from router_client.errors import InvalidInput
from router_client.event import DEFAULT_PRIORITY, Event, from_object, parse_time
from router_client.json_input import loads

JSON = "application/json"
NO_SOURCE = "urn:event-router:no-source"

_KEPT = "cloudevent"
_REQUIRED = ("specversion", "id", "source", "type")
_TEXTS = frozenset((*_REQUIRED, "time", "subject", "datacontenttype", "dataschema"))
_TRACE = ("traceparent", "tracestate")
_MEMBERS = {
    "time": "timestamp",
    "correlationid": "correlation_id",
    "priority": "priority",
    "target": "target",
    "deliverat": "deliver_at",
    "expirytime": "expires_at",
}
_ATTRIBUTES = {member: name for name, member in _MEMBERS.items()}
_NAME = re.compile(r"[a-z0-9]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JSON_TYPE = re.compile(r"[^/;\s]+/([^/;\s]+\+)?json\s*(;.*)?", re.IGNORECASE)


def check(attributes: Mapping[str, Any]) -> None:
    """Refuse what is no CloudEvent 1.0: attributes missing, ill-named, or with a value outside the type system.

    Raises InvalidInput naming the attribute.
    """
    for name in _REQUIRED:
        if name not in attributes:
            raise InvalidInput("is required", field=name)
    for name, value in attributes.items():
        _check_attribute(name, value)
    if attributes["specversion"] != "1.0":
        raise InvalidInput("must be 1.0", field="specversion")


def event_of(attributes: dict[str, Any], payload: Mapping[str, Any], kind: str) -> Event:
    """Build the event of checked attributes and a payload of the given kind (see :func:`attributes_of`).

    Raises InvalidInput naming the attribute that the router cannot take.
    """
    own = _own_metadata(attributes.get("ermetadata"))
    event = _mapped(attributes, payload, own)
    kept = _differences(event, attributes, kind)
    if "ermetadata" in kept or (_KEPT in own and kept):
        # Not what this module writes, so a stranger's extension that happens to have the name.
        event = _mapped(attributes, payload, {})
        kept = _differences(event, attributes, kind)
    return replace(event, metadata={**event.metadata, _KEPT: kept}) if kept else event


def attributes_of(event: Event) -> tuple[dict[str, Any], str]:
    """Return the attributes to write, and the kind of data: '' for the payload itself, value, base64 or absent.

    Raises InvalidInput for metadata that JSON cannot hold.
    """
    attributes = _own_attributes(event)
    kept = _kept(event)
    for name, value in kept.items():
        if name == "data" or (name == "ermetadata" and name in attributes) or not _still_true(event, name, value):
            continue
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    kind = _kind(event.payload, kept.get("data", ""))
    text = kind in ("base64", "absent") or (kind == "value" and isinstance(event.payload["data"], (str, type(None))))
    if not text and not is_json(attributes.get("datacontenttype", JSON)):
        attributes["datacontenttype"] = JSON
    return attributes, kind


def is_json(content_type: str) -> bool:
    """Tell whether a content type means JSON."""
    return bool(_JSON_TYPE.fullmatch(content_type))


def is_base64(text: object) -> bool:
    """Tell whether ``text`` is base64 as RFC 4648 has it, padding included."""
    try:
        return isinstance(text, str) and base64.b64decode(text, validate=True) is not None
    except ValueError:
        return False


def dumps(value: Any, field: str) -> bytes:
    """Return ``value`` as JSON; raises InvalidInput naming ``field`` for what JSON cannot hold."""
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError as error:
        raise InvalidInput(f"not representable as JSON: {error}", field=field) from error


def _check_attribute(name: str, value: object) -> None:
    if not _NAME.fullmatch(name) or name == "data":
        raise InvalidInput("attribute names are lower-case letters and digits", field=name or "attribute")
    if name in _TEXTS and (not isinstance(value, str) or not value):
        raise InvalidInput("must be text, and not empty", field=name)
    if isinstance(value, str):
        if _CONTROL.search(value):
            raise InvalidInput("may not contain control characters", field=name)
    elif type(value) is int:
        if not -(2**31) <= value < 2**31:
            raise InvalidInput("does not fit a 32-bit integer", field=name)
    elif not isinstance(value, bool):
        raise InvalidInput("must be text, a boolean or an integer", field=name)


def _mapped(attributes: Mapping[str, Any], payload: Mapping[str, Any], metadata: dict[str, Any]) -> Event:
    trace = {name: attributes[name] for name in _TRACE if _is_text(attributes.get(name))}
    source = attributes["source"]
    body = {
        "id": attributes["id"],
        "type": attributes["type"],
        "source": "" if source == NO_SOURCE else source,
        "payload": payload,
        "metadata": {**metadata, **trace},
    }
    body |= {member: attributes[name] for name, member in _MEMBERS.items() if name in attributes}
    if isinstance(body.get("priority"), str) and re.fullmatch("[0-9]", body["priority"]):
        body["priority"] = int(body["priority"])
    try:
        return from_object(body)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field=_ATTRIBUTES.get(error.field or "", error.field)) from error


def _differences(event: Event, attributes: Mapping[str, Any], kind: str) -> dict[str, Any]:
    written = _own_attributes(event)
    kept = {name: value for name, value in attributes.items() if written.get(name) != value}
    kept |= dict.fromkeys(name for name in written if name not in attributes)
    return {**kept, "data": kind} if kind else kept


def _own_attributes(event: Event) -> dict[str, Any]:
    """Return the attributes of the event by its members alone."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source or NO_SOURCE,
        "type": event.type,
        "time": _time(event.timestamp),
        "datacontenttype": JSON,
    }
    if event.correlation_id != event.id:
        attributes["correlationid"] = event.correlation_id
    if event.priority != DEFAULT_PRIORITY:
        attributes["priority"] = event.priority
    if event.target is not None:
        attributes["target"] = event.target
    if event.deliver_at is not None:
        attributes["deliverat"] = _time(event.deliver_at)
    if event.expires_at is not None:
        attributes["expirytime"] = _time(event.expires_at)
    rest = dict(event.metadata)
    for name in _TRACE:
        if _is_text(rest.get(name)):
            attributes[name] = rest.pop(name)
    if _kept(event):
        del rest[_KEPT]
    if rest:
        attributes["ermetadata"] = _metadata_text(rest)
    return attributes


def _kept(event: Event) -> dict[str, Any]:
    """Return metadata.cloudevent, or an empty object when it is none of this module's making but plain metadata."""
    kept = event.metadata.get(_KEPT)
    if not isinstance(kept, dict):
        return {}
    for name, value in kept.items():
        if name == "data":
            if value not in ("value", "base64", "absent"):
                return {}
        elif name in _REQUIRED or (value is None and name not in ("time", "datacontenttype")):
            return {}
        elif value is not None:
            try:
                _check_attribute(name, value)
            except InvalidInput:
                return {}
    return kept


def _still_true(event: Event, name: str, value: Any) -> bool:
    """Tell whether a kept mapped attribute still says what the event does, which somebody may have changed since."""
    if name not in _MEMBERS or value is None:
        return True
    have = getattr(event, _MEMBERS[name])
    if not isinstance(have, datetime):
        return str(value) == str(have)
    try:
        return parse_time(value, name) == have
    except InvalidInput:
        return False


def _kind(payload: Mapping[str, Any], kind: str) -> str:
    fits = {
        "absent": not payload,
        "value": payload.keys() == {"data"},
        "base64": payload.keys() == {"data_base64"} and is_base64(payload["data_base64"]),
    }
    return kind if fits.get(kind) else ""


def _own_metadata(text: object) -> dict[str, Any]:
    try:
        value = loads(text, "ermetadata") if isinstance(text, str) else None
    except InvalidInput:
        return {}
    return value if isinstance(value, dict) else {}


def _metadata_text(metadata: Mapping[str, Any]) -> str:
    # DEL is the one control character that JSON does not have to escape.
    return dumps(metadata, "metadata").decode().replace("\x7f", "\\u007f")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not _CONTROL.search(value)
