"""Members of an event from the parts of a Kafka record, by templates such as ``orders.{header:kind}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from router_client.errors import InvalidInput
from router_client.kafka.records import Default, Record, key_text, texts

MEMBERS = ("id", "type", "correlation_id", "source", "target", "priority", "timestamp")
_PART = re.compile(r"\{([^{}]*)\}")

Part = Callable[[Record, Mapping[str, Any]], object]


def template(value: str | int, member: str) -> Default:
    """Compile what a member is made of: text in which ``{key}``, ``{topic}``, ``{partition}``, ``{offset}``,
    ``{header:name}`` and ``{payload.path}`` stand for parts of the record.

    A template that is one part alone takes its value as it is, a number as a number. Raises InvalidInput naming
    ``member`` for a part there is not; what is compiled raises it for a record that does not have one.
    """
    if isinstance(value, int):
        return lambda _, __: value
    pieces = _PART.split(value)
    literals, parts = pieces[::2], [_part(name, member) for name in pieces[1::2]]
    if "{" in "".join(literals) or "}" in "".join(literals):
        raise InvalidInput("braces stand around a part of the record: {header:kind}", field=member)
    if len(parts) == 1 and not any(literals):
        return parts[0]

    def filled(record: Record, payload: Mapping[str, Any]) -> str:
        found = [str(part(record, payload)) for part in parts]
        return literals[0] + "".join(text + literal for text, literal in zip(found, literals[1:], strict=True))

    return filled


def _part(name: str, member: str) -> Part:
    kind, _, rest = name.partition(":")
    if kind == "header" and rest:
        return lambda record, _: _there(texts(record.headers).get(rest.lower()), f"the header {rest}", member)
    if name in ("topic", "partition", "offset"):
        return lambda record, _: getattr(record, name)
    if name == "key":
        return lambda record, _: _there(key_text(record.key), "a key", member)
    path = name.split(".")
    if path[0] == "payload" and all(path[1:]) and path[1:]:
        return lambda _, payload: _there(_inside(payload, path[1:]), name, member)
    raise InvalidInput(
        f"{{{name}}} is no part; one of key, topic, partition, offset, header:name, payload.path", field=member
    )


def _there(value: object, what: str, member: str) -> object:
    if value is None or isinstance(value, dict | list | bool):
        raise InvalidInput(f"the record has no text or number as {what}", field=member)
    return value


def _inside(payload: Mapping[str, Any], path: list[str]) -> object:
    value: object = payload
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
