"""Values as the filter language sees them: JSON types, equality, order, and the reach of a dotted path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final


class _Missing:
    """The value of a path that leads nowhere; not null."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()

Path = tuple[str, ...]

TYPE_NAMES: Final[dict[str, tuple[int | None, Callable[[Any], bool]]]] = {
    "double": (1, lambda v: isinstance(v, float)),
    "string": (2, lambda v: isinstance(v, str)),
    "object": (3, lambda v: isinstance(v, dict)),
    "array": (4, lambda v: isinstance(v, list)),
    "bool": (8, lambda v: isinstance(v, bool)),
    "null": (10, lambda v: v is None),
    "int": (16, lambda v: type(v) is int and -(2**31) <= v < 2**31),
    "long": (18, lambda v: type(v) is int and not -(2**31) <= v < 2**31),
    "number": (None, lambda v: is_number(v)),
}
TYPE_NAMES.update(
    # Types that MongoDB's filters may name and JSON does not have: known, and never met.
    {
        name: (code, lambda v: False)
        for name, code in {
            "minKey": -1,
            "binData": 5,
            "undefined": 6,
            "objectId": 7,
            "date": 9,
            "regex": 11,
            "dbPointer": 12,
            "javascript": 13,
            "symbol": 14,
            "javascriptWithScope": 15,
            "timestamp": 17,
            "decimal": 19,
            "maxKey": 127,
        }.items()
    }
)


class Indexed(list[Any]):
    """An array that was reached by its index in another: it counts as one value, not as its elements."""


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a JSON number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same(left: object, right: object) -> bool:
    """Compare JSON values: numbers by value, booleans only with booleans, objects without regard to order."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(same(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    return left is not MISSING and right is not MISSING and left == right


def order(left: object, right: object) -> int | None:
    """Return -1, 0 or 1 for two values of one comparable kind, None when they have no order between them."""
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return int(left > right) - int(left < right)  # type: ignore[operator]
    if isinstance(left, bool) and isinstance(right, bool):
        return left - right
    if right is None:
        return 0 if left is None or left is MISSING else None
    if isinstance(left, list) and isinstance(right, list):
        for a, b in zip(left, right, strict=False):
            by = order(a, b)
            if by != 0:
                return by
        return (len(left) > len(right)) - (len(left) < len(right))
    if isinstance(left, dict) and isinstance(right, dict):
        for a, b in zip(left.items(), right.items(), strict=False):
            by = order(a[0], b[0]) or order(a[1], b[1])
            if by != 0:
                return by
        return (len(left) > len(right)) - (len(left) < len(right))
    return None


def reach(document: Any, path: Path, at: int = 0) -> Iterator[Any]:
    """Yield what ``path`` leads to: through objects by name, through arrays by index and into each object in them.

    A path that an object does not have, or that meets a scalar on the way, yields MISSING; an array that has neither
    the index nor any object yields nothing.
    """
    if at == len(path):
        yield document
        return
    step = path[at]
    if isinstance(document, Mapping):
        if step in document:
            yield from reach(document[step], path, at + 1)
        else:
            yield MISSING
    elif isinstance(document, list):
        if step.isdecimal() and len(step) < 10 and int(step) < len(document):
            element = document[int(step)]
            if at + 1 == len(path):
                yield Indexed(element) if isinstance(element, list) else element
            elif isinstance(element, (dict, list)):
                yield from reach(element, path, at + 1)
        for element in document:
            if isinstance(element, dict):
                yield from reach(element, path, at)
    else:
        yield MISSING
