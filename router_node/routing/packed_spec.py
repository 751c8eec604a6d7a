"""A subscription's spec in as few bytes as will do while nobody reads it: JSON of what is not the default.

Its name, topics and filter are not among it: the subscription's route has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from router_client.spec import RetryPolicy, SubscriptionSpec

_PLAIN = SubscriptionSpec(name="", topics=())
_ELSEWHERE = ("name", "topics", "filter")
_DEFAULTS = {each.name: getattr(_PLAIN, each.name) for each in fields(SubscriptionSpec) if each.name not in _ELSEWHERE}
_NOTHING = b"{}"


def pack(spec: SubscriptionSpec) -> bytes:
    """Return the rest of a checked spec."""
    members = {name: value for name, default in _DEFAULTS.items() if (value := getattr(spec, name)) != default}
    return compact(orjson.dumps(members)) if members else _NOTHING


def unpack(name: str, topics: tuple[str, ...], wanted: Mapping[str, Any], packed: bytes) -> SubscriptionSpec:
    """Return the spec that was packed; parts that are the default are shared, and not to be changed."""
    members: dict[str, Any] = {**_DEFAULTS, **orjson.loads(packed)}
    if members["retry"] is not _PLAIN.retry:
        members["retry"] = RetryPolicy(**members["retry"])
    return SubscriptionSpec(name=name, topics=topics, filter=wanted, **members)


def compact(encoded: bytes) -> bytes:
    """Return what orjson encoded without the buffer of kilobytes that its own bytes lie in."""
    return bytes(memoryview(encoded))
