"""The topic grammar: dot-separated tokens; in patterns ``*`` is one token and a final ``>`` one or more.

A token is any non-empty text without white space or dots. ``*`` and ``>`` are wildcards only when they are a whole
token (``foo*`` is a literal), and a topic that is published may not contain a wildcard token.
"""

from __future__ import annotations

import re
from functools import lru_cache

from router_client.errors import InvalidInput

MAX_TOPIC_BYTES = 512
MAX_TOKENS = 64

_TEXT = re.compile(r"[^\s\x00-\x1f\x7f]+")


def check_topic(topic: object, field: str = "type") -> str:
    """Return ``topic`` when it may be published.

    Raises InvalidInput naming ``field`` otherwise.
    """
    if type(topic) is str and _is_topic(topic):
        return topic
    text, tokens = _tokens(topic, field, "topic")
    if "*" in tokens or ">" in tokens:
        raise InvalidInput("a published topic may not contain the wildcard tokens * or >", field=field)
    return text


@lru_cache(maxsize=10_000)
def _is_topic(text: str) -> bool:
    """Tell whether a topic is valid; topics recur, so most are looked up."""
    try:
        return not {"*", ">"}.intersection(_tokens(text, "type", "topic")[1])
    except InvalidInput:
        return False


def check_pattern(pattern: object, field: str = "topics") -> str:
    """Return ``pattern`` when it may be subscribed to.

    Raises InvalidInput naming ``field`` otherwise.
    """
    text, tokens = _tokens(pattern, field, "pattern")
    if ">" in tokens[:-1]:
        raise InvalidInput("> is allowed only as the last token of a pattern", field=field)
    return text


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a valid ``pattern`` covers a valid ``topic``. The plain definition; indexes are held against it."""
    want, have = pattern.split("."), topic.split(".")
    if want[-1] == ">":
        want = want[:-1]
        if len(have) <= len(want):
            return False
    elif len(have) != len(want):
        return False
    return all(w in ("*", h) for w, h in zip(want, have, strict=False))


def contains(outer: str, inner: str) -> bool:
    """Tell whether every topic that the valid pattern ``inner`` covers is covered by the valid pattern ``outer``."""
    within, asked = outer.split("."), inner.split(".")
    if within[-1] == ">":
        within = within[:-1]
        if len(asked) <= len(within):
            return False
    elif len(asked) != len(within) or asked[-1] == ">":
        return False
    return all(w in ("*", a) for w, a in zip(within, asked, strict=False))


def is_literal(pattern: str) -> bool:
    """Tell whether ``pattern`` has no wildcard, and so covers exactly one topic."""
    return not {"*", ">"}.intersection(pattern.split("."))


def _tokens(value: object, field: str, what: str) -> tuple[str, list[str]]:
    if not isinstance(value, str):
        raise InvalidInput(f"a {what} is text, for example orders.created", field=field)
    if not value:
        raise InvalidInput(f"a {what} may not be empty", field=field)
    if len(value.encode("utf-8", "replace")) > MAX_TOPIC_BYTES:
        raise InvalidInput(f"a {what} has at most {MAX_TOPIC_BYTES} bytes", field=field)
    if not _TEXT.fullmatch(value):
        raise InvalidInput(f"a {what} may not contain white space or control characters", field=field)
    tokens = value.split(".")
    if "" in tokens:
        raise InvalidInput(f"a {what} may not have empty tokens (leading, trailing or doubled dots)", field=field)
    if len(tokens) > MAX_TOKENS:
        raise InvalidInput(f"a {what} has at most {MAX_TOKENS} tokens", field=field)
    return value, tokens
