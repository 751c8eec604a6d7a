"""The Redis keys that may live for ever; any other key must have a time to live, or it piles up for years."""

from __future__ import annotations

import re

from redis import Redis

_NO_TTL = -1
_CLUSTER = r"[^:{}]+"
_PARTITION = rf"\{{er:{_CLUSTER}:\d+\}}"

# The permanent keys of docs/redis-keys.md. A pattern must match the whole name.
PERMANENT = tuple(
    re.compile(pattern)
    for pattern in (
        rf"er:{_CLUSTER}:meta",
        rf"er:{_CLUSTER}:nodes",
        rf"{_PARTITION}:in:\d",
        rf"{_PARTITION}:(pos|epoch|hw|dlq|lanes|fences|owed|outbox|due)",
        rf"{_PARTITION}:q:.+:(\d|10)",
        rf"{_PARTITION}:retry:.+",
    )
)


def is_permanent(key: str) -> bool:
    """Tell whether the key is documented to live for ever."""
    return any(pattern.fullmatch(key) for pattern in PERMANENT)


def leaked_keys(redis: Redis) -> list[str]:
    """Return the keys of the database that are neither permanent nor will expire, sorted."""
    names = {raw: raw.decode(errors="backslashreplace") for raw in redis.scan_iter(count=1000)}
    return sorted(name for raw, name in names.items() if not is_permanent(name) and redis.ttl(raw) == _NO_TTL)
