"""CloudEvents 1.0 over HTTP, both ways: structured, batched and binary content mode, JSON format.

What becomes of attributes and data stands in cloudevent_mapping.py. The way there and back is exact: an event written
and read again is the same event, a CloudEvent read and written again says the same. (Binary mode knows only text: an
integer or boolean extension comes out of it as text.) The official SDK is not used here, since it makes up required
attributes that are missing and takes some invalid ones; the tests hold this module against it.

All faults of input are InvalidInput, ``field`` being the attribute, ``data``, ``body`` or ``content-type``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote

from router_client.cloudevent_mapping import JSON, attributes_of, check, dumps, event_of, is_base64, is_json
from router_client.errors import EventRouterError, InvalidInput
from router_client.event import Event
from router_client.json_input import loads

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

Mode = Literal["structured", "batch", "binary"]

_TEXT_TYPE = re.compile(r"(text/[^;\s]+|[^/;\s]+/([^/;\s]+\+)?xml)\s*(;.*)?", re.IGNORECASE)
_CHARSET = re.compile(r"(;\s*charset\s*=\s*)(\"[^\"]*\"|[^;\s]*)", re.IGNORECASE)
_HEADER_SAFE = "!#$&'()*+,/:;<=>?@[\\]^`{|}"


def mode_of(headers: Mapping[str, str]) -> Mode | None:
    """Return the content mode of an HTTP message, None when it is no CloudEvent; the content type decides first.

    Raises InvalidInput for an event format other than JSON.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    content_type = lowered.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == STRUCTURED:
        return "structured"
    if content_type == BATCH:
        return "batch"
    if content_type.startswith("application/cloudevents"):
        raise InvalidInput(f"only {STRUCTURED} and {BATCH} are understood", field="content-type")
    return "binary" if any(name.startswith("ce-") for name in lowered) else None


def is_cloudevent(headers: Mapping[str, str]) -> bool:
    """Tell whether an HTTP message is a CloudEvent in any mode. Raises as :func:`mode_of` does."""
    return mode_of(headers) is not None


def read_structured(body: bytes) -> Event:
    """Read one event in structured mode. Raises InvalidInput."""
    return _read_object(loads(body))


def read_batch(body: bytes) -> list[Event | EventRouterError]:
    """Read a batch: for each member, in order, its event or the error that refuses it.

    Raises InvalidInput when the document as a whole is not a JSON array.
    """
    members = loads(body)
    if not isinstance(members, list):
        raise InvalidInput("a batch is a JSON array of events", field="body")
    results: list[Event | EventRouterError] = []
    for member in members:
        try:
            results.append(_read_object(member))
        except EventRouterError as error:
            results.append(error)
    return results


def read_binary(headers: Mapping[str, str], body: bytes) -> Event:
    """Read one event in binary mode. Raises InvalidInput."""
    attributes: dict[str, Any] = {}
    for header, value in headers.items():
        name = header.lower()
        if name == "content-type":
            if value.strip():
                attributes["datacontenttype"] = value.strip()
        elif name == "ce-datacontenttype":
            raise InvalidInput("belongs into the Content-Type header", field="datacontenttype")
        elif name.startswith("ce-"):
            attributes[name[3:]] = _from_header(value, name[3:])
    # All header values are text; the extension is an integer.
    if re.fullmatch("[0-9]", attributes.get("priority", "")):
        attributes["priority"] = int(attributes["priority"])
    check(attributes)
    return event_of(attributes, *_from_body(body, attributes.get("datacontenttype", "")))


def to_structured(event: Event) -> dict[str, Any]:
    """Return the event as the JSON object of structured mode; a batch is a list of these.

    Raises InvalidInput for metadata that JSON cannot hold.
    """
    attributes, kind = attributes_of(event)
    if kind == "absent":
        return attributes
    if kind == "base64":
        return {**attributes, "data_base64": event.payload["data_base64"]}
    return {**attributes, "data": event.payload["data"] if kind == "value" else event.payload}


def to_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Return the headers and body of binary mode. Metadata travels in a header, which servers limit to some KiB.

    Raises InvalidInput for metadata or a payload that JSON cannot hold.
    """
    attributes, kind = attributes_of(event)
    content_type = attributes.pop("datacontenttype", None)
    headers = {f"ce-{name}": _to_header(value) for name, value in attributes.items()}
    if kind == "absent":
        body = b""
    elif kind == "base64":
        body = base64.b64decode(event.payload["data_base64"])
    elif kind == "value" and content_type and not is_json(content_type):
        body = (event.payload["data"] or "").encode()
        if not _is_utf8(content_type):
            content_type = _CHARSET.sub(r"\1utf-8", content_type)
    else:
        body = dumps(event.payload["data"] if kind == "value" else event.payload, "payload")
        content_type = content_type or JSON
    if content_type:
        headers["content-type"] = content_type
    return headers, body


def _read_object(document: object) -> Event:
    if not isinstance(document, dict):
        raise InvalidInput("a CloudEvent is a JSON object", field="body")
    attributes = {n: v for n, v in document.items() if v is not None and n not in ("data", "data_base64")}
    check(attributes)
    if document.get("data_base64") is not None:
        if "data" in document:
            raise InvalidInput("data and data_base64 exclude each other", field="data_base64")
        text = document["data_base64"]
        if not is_base64(text):
            raise InvalidInput("is not base64 (RFC 4648, with padding)", field="data_base64")
        return event_of(attributes, {"data_base64": text}, "base64")
    if "data" not in document:
        return event_of(attributes, {}, "absent")
    data = document["data"]
    if not isinstance(data, (str, type(None))) and not is_json(attributes.get("datacontenttype", JSON)):
        raise InvalidInput("must be text when datacontenttype is not JSON", field="data")
    return event_of(attributes, *_payload(data))


def _payload(data: Any) -> tuple[Mapping[str, Any], str]:
    return (data, "") if isinstance(data, dict) else ({"data": data}, "value")


def _from_body(body: bytes, content_type: str) -> tuple[Mapping[str, Any], str]:
    if not body:
        return {}, "absent"
    if is_json(content_type):
        return _payload(loads(body, "data"))
    if _TEXT_TYPE.fullmatch(content_type) and _is_utf8(content_type):
        try:
            return {"data": body.decode()}, "value"
        except UnicodeDecodeError:
            pass
    return {"data_base64": base64.b64encode(body).decode()}, "base64"


def _is_utf8(content_type: str) -> bool:
    charset = _CHARSET.search(content_type)
    return charset is None or charset[2].strip('"').lower() in ("utf-8", "us-ascii")


def _from_header(value: str, name: str) -> str:
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidInput("is not percent-encoded UTF-8", field=name) from error


def _to_header(value: str | int | bool) -> str:
    return quote(value, safe=_HEADER_SAFE) if isinstance(value, str) else str(value).lower()
