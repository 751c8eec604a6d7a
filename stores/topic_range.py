"""Topic patterns as conditions that a database can use: a range for the index, a regular expression for the rest."""

from __future__ import annotations

import re
from typing import NamedTuple


class TopicRange(NamedTuple):
    """Topics ``low`` <= t < ``high`` (None: no bound) in byte order that also match ``regex`` (None: all do)."""

    low: str
    high: str | None
    regex: str | None


def topic_range(pattern: str) -> TopicRange:
    """Return the condition for a valid pattern that has a wildcard; see router_client.topics.is_literal."""
    tokens = pattern.split(".")
    prefix = []
    for token in tokens:
        if token in ("*", ">"):
            break
        prefix.append(token)
    low = ".".join(prefix) + "." if prefix else ""
    high = low[:-1] + chr(ord(".") + 1) if low else None
    tail = tokens[-1] == ">"
    if tail and len(prefix) == len(tokens) - 1:
        return TopicRange(low, high, None)
    parts = ["[^.]+" if token == "*" else re.escape(token) for token in (tokens[:-1] if tail else tokens)]
    return TopicRange(low, high, "^" + r"\.".join(parts) + (r"\..+$" if tail else "$"))
