"""Values as the filter language sees them: JSON types, equality, order, and the reach of a dotted path."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import Any, Final

from router_client.errors import InvalidInput

MAX_DEPTH = 32
PLAIN_STEPS = 2
"""Steps of a path that cost next to nothing."""


class _Missing:
    """The value of a path that leads nowhere; not null."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()

Spend = Callable[[int], None]
"""Hears what going on costs, in steps (see effort); it may raise."""

Step = tuple[str, int | None]  # a name, and the place in an array when the name can be one
Path = tuple[Step, ...]


class Indexed(list[Any]):
    """An array that was reached by its index in another: it counts as one value, not as its elements."""


# MongoDB's types and their codes. Those that JSON does not have are known, and never met.
TYPE_CODES: Final[dict[str, int | None]] = {
    "double": 1,
    "string": 2,
    "object": 3,
    "array": 4,
    "binData": 5,
    "undefined": 6,
    "objectId": 7,
    "bool": 8,
    "date": 9,
    "null": 10,
    "regex": 11,
    "dbPointer": 12,
    "javascript": 13,
    "symbol": 14,
    "javascriptWithScope": 15,
    "int": 16,
    "timestamp": 17,
    "long": 18,
    "decimal": 19,
    "minKey": -1,
    "maxKey": 127,
    "number": None,
}

# int and long are not here: they are one type in Python, told apart by whether 32 bits hold the value.
PYTHON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "double": (float,),
    "string": (str,),
    "object": (dict,),
    "array": (list, Indexed),
    "bool": (bool,),
    "null": (type(None),),
    "number": (int, float),
}

_PLAIN = frozenset({str, int, float})
_TRUE, _FALSE, _OTHER = object(), object(), object()


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a JSON number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_json(value: object, field: str) -> None:
    """Refuse what no event could hold, and what nests deeper than ``MAX_DEPTH`` levels.

    Raises InvalidInput naming ``field``.
    """
    stack: list[tuple[object, int]] = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict) and all(isinstance(key, str) for key in item):
            inside = list(item.values())
        elif isinstance(item, list):
            inside = item
        elif item is None or isinstance(item, (bool, int, str)) or (isinstance(item, float) and math.isfinite(item)):
            continue
        else:
            raise InvalidInput("not a JSON value", field=field)
        if depth == MAX_DEPTH:
            raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", field=field)
        stack.extend((each, depth + 1) for each in inside)


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


def hashed(value: Any, levels: int = MAX_DEPTH) -> Hashable:
    """Return a key that two values share exactly when they are the ``same``; what is missing has the key of null.

    Values nested deeper than ``levels`` share a key that no value of a filter has.
    """
    if type(value) in _PLAIN:
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if value is None or value is MISSING:
        return None
    if levels == 0:
        return _OTHER
    if isinstance(value, dict):
        return frozenset((name, hashed(each, levels - 1)) for name, each in value.items())
    return tuple(hashed(each, levels - 1) for each in value)


def sizes_of(wanted: Sequence[object]) -> frozenset[int]:
    """Return the lengths of the arrays and objects among ``wanted``."""
    return frozenset(len(value) for value in wanted if isinstance(value, (list, dict)))


def hashed_like(wanted: Sequence[object], spend: Spend) -> Callable[[Any], Hashable]:
    """Return a ``hashed`` for looking up among ``wanted``, which spares the arrays and objects no wanted one can be."""
    sizes = sizes_of(wanted)

    def key(value: Any) -> Hashable:
        if type(value) in _PLAIN:
            return value  # type: ignore[no-any-return]
        if isinstance(value, (list, dict)):
            if len(value) not in sizes:
                return _OTHER
            spend_on_all(value, spend)
        return hashed(value)

    return key


def spend_on_all(value: Any, spend: Spend) -> None:
    """Spend a step on everything in a value."""
    stack = [value]
    while stack:
        item = stack.pop()
        spend(len(item) + 1)
        inside = item.values() if isinstance(item, dict) else item
        stack.extend(each for each in inside if isinstance(each, (list, dict)))


def count_of(value: Any) -> int:
    """Return of how many values a value is made."""
    steps: list[int] = []
    if not isinstance(value, (list, dict)):
        return 1
    spend_on_all(value, steps.append)
    return sum(steps)


def order(left: object, right: object) -> int | None:
    """Return -1, 0 or 1 for two values of one comparable kind, None when they have no order between them."""
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return int(left > right) - int(left < right)  # type: ignore[operator]
    if isinstance(left, bool) and isinstance(right, bool):
        return left - right
    if right is None:
        return 0 if left is None or left is MISSING else None
    if isinstance(left, list) and isinstance(right, list):
        return _first_difference(left, right, len(left) - len(right))
    if isinstance(left, dict) and isinstance(right, dict):
        pairs = chain.from_iterable
        return _first_difference(pairs(left.items()), pairs(right.items()), len(left) - len(right))
    return None


def _first_difference(left: Iterable[object], right: Iterable[object], longer: int) -> int | None:
    for a, b in zip(left, right, strict=False):
        by = order(a, b)
        if by != 0:
            return by
    return (longer > 0) - (longer < 0)


def parse_path(text: str) -> Path:
    """Split a dotted path into its steps."""
    return tuple((name, _index(name)) for name in text.split("."))


def _index(name: str) -> int | None:
    canonical = name.isascii() and name.isdecimal() and (name == "0" or name[0] != "0")
    return int(name) if canonical and len(name) < 10 else None


def reach(document: Any, path: Path, spend: Spend) -> list[Any]:
    """Return what ``path`` leads to: through objects by name, through arrays by index and into each object in them.

    A path that an object does not have, or that meets a scalar on the way, leads to MISSING; an array that has neither
    the index nor any object leads nowhere. The work, at most the size of the document times its depth, is spent first.
    """
    nodes = [document]
    missing = False
    for place, (name, index) in enumerate(path, 1):
        if not nodes:
            break
        following: list[Any] = []
        if len(nodes) > 1:
            spend(len(nodes))
        for node in nodes:
            if isinstance(node, list):
                spend(len(node))
                if index is not None and index < len(node):
                    _enter(node[index], place == len(path), following)
                within = [element for element in node if isinstance(element, dict)]
            elif isinstance(node, dict):
                within = [node]
            else:
                within, missing = [], True
            there = [element[name] for element in within if name in element]
            missing = missing or len(there) < len(within)
            following += there
        if index is not None:
            # An element may be met by its index and as one of all; met twice at every level it would double the work.
            following = list({id(node): node for node in following}.values())
        nodes = following
    return [*nodes, MISSING] if missing else nodes


def _enter(element: Any, arrived: bool, following: list[Any]) -> None:
    if arrived:
        following.append(Indexed(element) if isinstance(element, list) else element)
    elif isinstance(element, (dict, list)):
        following.append(element)
