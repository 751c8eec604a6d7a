"""JSON from strangers: decoded by orjson, and refused where decoding would change or hide what was sent."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from router_client.errors import InvalidInput

MAX_DEPTH = 32

# orjson turns an integer outside 64 bits into a float without a word; a run of this many digits is worth a closer look.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def loads(data: bytes | str, field: str = "body") -> Any:
    """Decode one JSON document.

    Raises InvalidInput for bad syntax, bad UTF-8, NaN or infinity, integers beyond 64 bits, and nesting beyond
    ``MAX_DEPTH``; the error names the path of the value where there is one, else ``field``.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not valid JSON: {error}", field=field) from error
    if _LONG_NUMBER.search(raw):
        refuse_wide_integers(raw, field)
    return value


def check_depth(value: Any, encoded: bytes, field: str) -> None:
    """Refuse ``value`` when it nests deeper than ``MAX_DEPTH``; ``encoded`` (its JSON) makes the common case free."""
    if encoded.count(b"{") + encoded.count(b"[") <= MAX_DEPTH:
        return
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if not isinstance(item, (dict, list)):
            continue
        if depth > MAX_DEPTH:
            raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", field=field)
        stack.extend((child, depth + 1) for child in (item.values() if isinstance(item, dict) else item))


def refuse_wide_integers(raw: bytes, field: str) -> None:
    """Decode again with exact integers, and refuse those a 64-bit reader would change."""

    def exact(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            raise InvalidInput(f"the integer {digits[:24]} does not fit 64 bits; send it as text", field=field)
        return int(digits)

    json.loads(raw, parse_int=exact)
