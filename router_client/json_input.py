"""JSON from strangers: decoded by orjson, and refused where decoding would change or hide what was sent."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from router_client.errors import InvalidInput

MAX_DEPTH = 32

# orjson turns an integer outside 64 bits into a float without a word; a run of this many digits is worth a closer look.
# Searching for a run of one byte after this translation takes a tenth of the time of a regular expression.
_DIGITS_ALIKE = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
_LONG_NUMBER = b"0" * 19


def loads(data: bytes | str, field: str = "body") -> Any:
    """Decode one JSON document.

    Raises InvalidInput naming ``field`` for bad syntax, bad UTF-8, NaN or infinity, integers beyond 64 bits, and
    nesting beyond orjson's 1,024 levels. How deep an event may nest is checked for each event: see check_depth.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not valid JSON: {error}", field=field) from error
    if _LONG_NUMBER in raw.translate(_DIGITS_ALIKE):
        refuse_wide_integers(raw, field)
    return value


def is_suspect(encoded: bytes) -> bool:
    """Tell whether what was encoded as this JSON may nest too deep or hold numbers that JSON has not; most is not."""
    return encoded.count(b"{") + encoded.count(b"[") > MAX_DEPTH or b"null" in encoded


def check_depth(value: Any, field: str, most: int = MAX_DEPTH) -> None:
    """Refuse ``value`` when it nests deeper than ``most``."""
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if not isinstance(item, (dict, list, tuple)):
            continue
        if depth > most:
            raise InvalidInput(f"nested deeper than {most} levels", field=field)
        stack.extend((child, depth + 1) for child in (item.values() if isinstance(item, dict) else item))


def check_finite(value: Any, field: str) -> None:
    """Refuse NaN and infinities, which orjson writes as null."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise InvalidInput(f"{item} is not a JSON number", field=field)
        if isinstance(item, (dict, list, tuple)):
            stack.extend(item.values() if isinstance(item, dict) else item)


def refuse_wide_integers(raw: bytes, field: str) -> None:
    """Decode again with exact integers, and refuse those a 64-bit reader would change."""

    def exact(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            raise InvalidInput(f"the integer {digits[:24]} does not fit 64 bits; send it as text", field=field)
        return int(digits)

    try:
        json.loads(raw, parse_int=exact)
    except RecursionError as error:
        raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", field=field) from error


def only(body: object, *allowed: str) -> dict[str, Any]:
    """Return ``body`` as an object that has no other members. Raises InvalidInput."""
    if not isinstance(body, dict):
        raise InvalidInput("must be a JSON object", field="body")
    for name in body:
        if name not in allowed:
            raise InvalidInput("unknown member", field=str(name))
    return body
