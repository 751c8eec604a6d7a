"""A subscription's spec in as few bytes as will do while nobody reads it: JSON of what is not the default."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson

from router_client.spec import RetryPolicy, SubscriptionSpec

_PLAIN = SubscriptionSpec(name="", topics=())
_DEFAULTS = {each.name: getattr(_PLAIN, each.name) for each in fields(SubscriptionSpec) if each.name != "name"}


def pack(spec: SubscriptionSpec) -> bytes:
    """Return all of a checked spec but its name."""
    members = {name: value for name, default in _DEFAULTS.items() if (value := getattr(spec, name)) != default}
    return bytes(memoryview(orjson.dumps(members)))  # orjson's own bytes lie in a buffer of kilobytes


def unpack(name: str, packed: bytes) -> SubscriptionSpec:
    """Return the spec that was packed; parts that are the default are shared, and not to be changed."""
    members: dict[str, Any] = {**_DEFAULTS, **orjson.loads(packed)}
    members["topics"] = tuple(members["topics"])
    if members["retry"] is not _PLAIN.retry:
        members["retry"] = RetryPolicy(**members["retry"])
    return SubscriptionSpec(name=name, **members)
