"""What came of a filter that was tried, in words: the first condition that failed, and all of them as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

SHOWN_PATTERNS = 5
_WHOLE = ("$and", "$all", "$elemMatch")


class Mark(NamedTuple):
    """A line of the tree, behind a check mark or a cross."""

    depth: int
    holds: bool
    text: str


def headline(answer: dict[str, Any]) -> str:
    """Return what came of it in one line: when it does not match, the first thing that failed, and what it saw."""
    return "matches" if answer["matches"] else f"does not match: {_reason(answer)}"


def tree(answer: dict[str, Any]) -> Iterator[Mark]:
    """Yield a line for each thing that was asked, in the order the router asks."""
    topics, target = answer.get("topics"), answer.get("target")
    if topics is not None:
        yield Mark(0, topics["holds"], f"topics {_patterns(topics)}: {topics['type']}")
    if target is not None:
        yield Mark(0, target["holds"], f"target {target['target']}: this is {target['subscription']}")
    for condition in answer["conditions"]:
        yield from _branch(condition, 0)
    gates = answer.get("global_filters", [])
    if gates:
        yield Mark(0, all(gate["holds"] for gate in gates), "global filters")
        for condition in gates:
            yield from _branch(condition, 1)


def _reason(answer: dict[str, Any]) -> str:
    topics, target = answer.get("topics"), answer.get("target")
    if topics is not None and not topics["holds"]:
        return f"no topic pattern ({_patterns(topics)}) covers {topics['type']}"
    if target is not None and not target["holds"]:
        return f"the event is for {target['target']} alone"
    conditions = [*answer["conditions"], *answer.get("global_filters", [])]
    return _complaint(_culprit(_first_failing(conditions)))


def _first_failing(conditions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next(each for each in conditions if not each["holds"])


def _culprit(condition: dict[str, Any]) -> dict[str, Any]:
    """Follow a condition that failed to the part that made it fail, where it is a single one."""
    parts = condition.get("parts", [])
    if parts and (condition["operator"] in _WHOLE or (condition["operator"] == "$or" and len(parts) == 1)):
        return _culprit(_first_failing(parts))
    return condition


def _complaint(condition: dict[str, Any]) -> str:
    field, operator, parts = condition["field"], condition["operator"], condition.get("parts", [])
    if operator == "$or":
        return f"{field}: none of its {len(parts)} parts holds"
    if operator == "$nor":
        return f"{field}: {next(part['field'] for part in parts if part['holds'])} holds"
    found = f"{condition['path'] or 'the element'} is {_found(condition)}"
    if operator == "$not":
        return f"{field}: what it denies holds, as {found}"
    return f"{field} asks for {_value(condition['operand'])}, and {found}"


def _branch(condition: dict[str, Any], depth: int) -> Iterator[Mark]:
    yield Mark(depth, condition["holds"], _question(condition))
    for part in condition.get("parts", []):
        yield from _branch(part, depth + 1)


def _question(condition: dict[str, Any]) -> str:
    path, operator = condition.get("path"), condition["operator"]
    if path is None:
        return f"{operator}" if condition.get("parts") else "anything"
    words = [path or "the element", operator]
    if "operand" in condition:
        words.append(_value(condition["operand"]))
    if "element" in condition:
        return f"{' '.join(words)}: {'met by' if condition['holds'] else 'closest is'} {_value(condition['element'])}"
    return f"{' '.join(words)}: {_found(condition)}"


def _found(condition: dict[str, Any]) -> str:
    values = [_value(each) for each in condition["found"]]
    more = f" and {condition['more']:,} more" if condition["more"] else ""
    return ", ".join(values) + more if values else "nowhere"


def _value(shown: dict[str, Any]) -> str:
    if "value" in shown:
        return orjson.dumps(shown["value"]).decode()
    return f"{shown['cut']}…" if "cut" in shown else "missing"


def _patterns(topics: dict[str, Any]) -> str:
    patterns = topics["patterns"]
    more = len(patterns) - SHOWN_PATTERNS
    return ", ".join(patterns[:SHOWN_PATTERNS]) + (f" and {more} more" if more > 0 else "")
