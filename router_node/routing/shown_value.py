"""A value as an explanation shows it: in full while it is small, and only its beginning when it is not."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from router_node.routing.filter_values import MISSING

MAX_SHOWN_CHARS = 200
MAX_NAME_CHARS = 500
"""Of a path, or of a place in a filter, whose beginning all conditions inside repeat."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Shown(NamedTuple):
    """``what`` is ``value`` with the JSON value itself, ``cut`` with the beginning of its JSON text, or ``missing``."""

    what: Literal["value", "cut", "missing"]
    content: Any = True

    def to_object(self) -> dict[str, Any]:
        """Return the JSON object of the API, which has one member."""
        return {self.what: self.content}


def shown_name(name: str) -> str:
    """Return a path or a field, or the end of one that is longer than ``MAX_NAME_CHARS``."""
    return name if len(name) <= MAX_NAME_CHARS else f"…{name[-MAX_NAME_CHARS:]}"


def shown(value: Any) -> Shown:
    """Show a value of a filter or an event, cut at ``MAX_SHOWN_CHARS`` of its JSON text; no more of it is looked at."""
    if value is MISSING:
        return Shown("missing")
    text = ""
    # Piece by piece: a value may be large, nested deeper than a recursion, and shown once for every condition.
    for piece in _ENCODER.iterencode(value):
        text += piece
        if len(text) > MAX_SHOWN_CHARS:
            return Shown("cut", text[:MAX_SHOWN_CHARS])
    return Shown("value", value)
