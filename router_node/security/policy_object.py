"""Policies as the JSON objects of the API and the store."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import Any

from router_client.errors import InvalidInput
from router_client.json_input import only
from router_client.topics import check_pattern
from router_node.security.policy import LEVELS, Limits, Policy

TOPICS = ("publish", "subscribe", "events", "dead_letters")
MEMBERS = (*TOPICS, "manage", "members", "limits")
MAX_PATTERNS = 200
MAX_MEMBERS = 1000
MAX_MEMBER_CHARS = 256
WHOLE = ("connections", "subscriptions", "event_bytes")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: object, field: str = "name") -> str:
    """Return the name of a policy or of a key. Raises InvalidInput for any that cannot be one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput("1 to 64 letters, digits, dots, dashes and underscores, the first no sign", field=field)
    return name


def policy_from(name: str, body: object) -> Policy:
    """Read a policy. Raises InvalidInput naming the member at fault."""
    given = {member: value for member, value in only(body, *MEMBERS).items() if value is not None}
    manage = given.get("manage", "none")
    if manage not in LEVELS:
        raise InvalidInput(f"one of {', '.join(LEVELS)}", field="manage")
    topics = {each: _patterns(given.get(each, []), each) for each in TOPICS}
    return Policy(
        name=check_name(name),
        **topics,
        manage=manage,
        members=_members(given.get("members", [])),
        limits=_limits(given.get("limits", {})),
    )


def policy_object(policy: Policy) -> dict[str, Any]:
    """Return a policy as :func:`policy_from` reads it, without its name."""
    limits = {each.name: getattr(policy.limits, each.name) for each in fields(Limits)}
    return {
        **{each: list(getattr(policy, each)) for each in TOPICS},
        "manage": policy.manage,
        "members": list(policy.members),
        "limits": {name: value for name, value in limits.items() if value is not None},
    }


def _patterns(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_PATTERNS:
        raise InvalidInput(f"a list of at most {MAX_PATTERNS} topic patterns", field=field)
    return tuple(check_pattern(each, field) for each in value)


def _members(value: object) -> tuple[str, ...]:
    texts = value if isinstance(value, list) and len(value) <= MAX_MEMBERS else [None]
    if not all(isinstance(each, str) and 0 < len(each) <= MAX_MEMBER_CHARS and ":" in each for each in texts):
        raise InvalidInput(
            f"a list of at most {MAX_MEMBERS} names of principals, such as cert:scanner-*; * stands for any text",
            field="members",
        )
    return tuple(texts)


def _limits(value: object) -> Limits:
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object", field="limits")
    known = [each.name for each in fields(Limits)]
    for name, bound in value.items():
        if name not in known:
            raise InvalidInput(f"unknown member; one of {', '.join(known)}", field=f"limits.{name}"[:100])
        kinds = (int,) if name in WHOLE else (int, float)
        if type(bound) not in kinds or not math.isfinite(bound) or not 0 < bound < 2**53:
            raise InvalidInput(
                "a whole number above 0" if name in WHOLE else "a number above 0", field=f"limits.{name}"
            )
    return Limits(**value)
