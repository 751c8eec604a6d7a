"""Containment of JSON values, with the meaning of PostgreSQL's jsonb ``@>``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def contains(whole: Any, part: Any) -> bool:
    """Tell whether ``whole`` contains ``part``: objects member by member, arrays as sets, scalars by equality.

    Numbers are equal when they are written for the same decimal. An array contains a scalar that is one of its
    elements at the top level only, as jsonb has it.
    """
    if isinstance(whole, list) and not isinstance(part, (list, dict)):
        return any(_same(element, part) for element in whole)
    return _within(whole, part)


def _within(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _within(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(_within(element, wanted) for element in whole) for wanted in part)
    return _same(whole, part)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if type(left) is not type(right) and isinstance(left, (int, float)) and isinstance(right, (int, float)):
        # 9223372036854775808 as a float is written 9.223372036854776e18, which PostgreSQL reads as another number.
        return Decimal(repr(left)) == Decimal(repr(right))
    return type(left) is type(right) and not isinstance(left, (dict, list)) and bool(left == right)
