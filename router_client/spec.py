"""What a subscription asks for: the body of ``PUT /v1/subscriptions/{name}``, and of the frame ``subscribe``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from router_client.destination import check_destination, shown
from router_client.errors import InvalidInput
from router_client.topics import check_pattern

MAX_PATTERNS = 100
MAX_IN_FLIGHT = 10_000
MAX_REASON_CHARS = 500
DEFAULT_ACK_TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

Overflow = Literal["drop_oldest", "drop_newest", "block"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed delivery is tried again: ``base_s * factor ** (attempt - 1)``, at most ``max_s``, give or take
    the ``jitter`` fraction; after ``max_attempts`` deliveries the event is dead-lettered.
    """

    max_attempts: int = 5
    base_s: float = 1.0
    factor: float = 2.0
    max_s: float = 300.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSpec:
    """One subscription, checked by :meth:`from_object`.

    ``ordering`` ``key`` keeps events of one (correlation_id, priority) in order, one in flight; ``strict`` those of one
    correlation_id whatever their priority; ``none`` does not. ``on_dead_letter`` ``halt`` holds back the events of a
    key behind one that was given up, until it is replayed or purged. Nothing is delivered while it is ``paused``.
    Of its backlog, what was accepted, or scheduled for a time, before ``skip_before_us`` (microseconds since 1970) is
    passed over.
    A ``durable`` one keeps its backlog while nobody is connected; another lives as long as its connection, with a
    buffer of ``buffer`` events and the ``overflow`` policy.
    """

    name: str
    topics: tuple[str, ...]
    filter: Mapping[str, Any] = field(default_factory=dict)
    ordering: Literal["key", "strict", "none"] = "key"
    ack_timeout_s: float = DEFAULT_ACK_TIMEOUT_S
    retry: RetryPolicy = RetryPolicy()
    on_dead_letter: Literal["release", "halt"] = "release"
    max_in_flight: int = 100
    durable: bool = True
    buffer: int = 1000
    overflow: Overflow = "drop_oldest"
    destination: Mapping[str, Any] = field(default_factory=lambda: {"kind": "consumer"})
    paused: bool = False
    paused_reason: str = ""
    skip_before_us: int = 0

    def to_object(self) -> dict[str, Any]:
        """Return the JSON object of the wire, with every default spelled out."""
        return {**asdict(self), "topics": list(self.topics)}

    def public_object(self) -> dict[str, Any]:
        """Return the JSON object without secrets, as people get to see it."""
        return {**self.to_object(), "destination": shown(self.destination)}

    @classmethod
    def from_object(cls, name: object, body: object) -> SubscriptionSpec:
        """Check ``body`` and build the spec.

        The filter is only checked to be an object here; the node checks its language.
        Raises InvalidInput whose ``field`` is the member at fault.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                "1 to 128 letters, digits, dots, dashes and underscores, a letter or digit first",
                field="name",
            )
        if not isinstance(body, dict):
            raise InvalidInput("a subscription is a JSON object", field="subscription")
        values: dict[str, Any] = {}
        for key, value in body.items():
            if key == "name":
                if value != name:
                    raise InvalidInput(f"differs from the name addressed, {name}", field="name")
                continue
            check = _CHECKS.get(key)
            if check is None:
                raise InvalidInput("unknown member", field=str(key))
            if value is not None:
                values[key] = check(value, key)
        if "topics" not in values:
            raise InvalidInput('is required, for example ["orders.*"]', field="topics")
        _check_together(values)
        return cls(name=name, **values)


def _check_together(values: Mapping[str, Any]) -> None:
    destination = values.get("destination", {})
    if destination.get("kind", "consumer") == "consumer":
        return
    if not values.get("durable", True):
        raise InvalidInput("an ephemeral subscription has a consumer that is connected", field="destination.kind")
    if destination["timeout_s"] >= values.get("ack_timeout_s", DEFAULT_ACK_TIMEOUT_S):
        raise InvalidInput("must be less than ack_timeout_s", field="destination.timeout_s")


def _topics(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidInput("a list of at least one pattern", field=name)
    if len(value) > MAX_PATTERNS:
        raise InvalidInput(f"at most {MAX_PATTERNS} patterns", field=name)
    return tuple(dict.fromkeys(check_pattern(p, f"{name}[{i}]") for i, p in enumerate(value)))


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object", field=name)
    return value


def _number(low: float, high: float) -> Any:
    def check(value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise InvalidInput(f"a number from {low:g} to {high:g}", field=name)
        return float(value)

    return check


def _integer(low: int, high: int) -> Any:
    def check(value: object, name: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise InvalidInput(f"an integer from {low} to {high}", field=name)
        return value

    return check


def _one_of(*choices: str) -> Any:
    def check(value: object, name: str) -> str:
        if value not in choices:
            raise InvalidInput("one of " + ", ".join(choices), field=name)
        return str(value)

    return check


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_REASON_CHARS:
        raise InvalidInput(f"text of at most {MAX_REASON_CHARS} characters", field=name)
    return value


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("true or false", field=name)
    return value


_RETRY_CHECKS: dict[str, Any] = {
    "max_attempts": _integer(1, 100),
    "base_s": _number(0, 3600),
    "factor": _number(1, 10),
    "max_s": _number(0, 86_400),
    "jitter": _number(0, 1),
}


def _retry(value: object, name: str) -> RetryPolicy:
    values = {}
    for key, part in _object(value, name).items():
        if key not in _RETRY_CHECKS:
            raise InvalidInput("unknown member", field=f"{name}.{key}")
        values[key] = _RETRY_CHECKS[key](part, f"{name}.{key}")
    return RetryPolicy(**values)


_CHECKS: dict[str, Any] = {
    "topics": _topics,
    "filter": _object,
    "ordering": _one_of("key", "strict", "none"),
    "ack_timeout_s": _number(0.05, 43_200),
    "retry": _retry,
    "on_dead_letter": _one_of("release", "halt"),
    "max_in_flight": _integer(1, MAX_IN_FLIGHT),
    "durable": _boolean,
    "buffer": _integer(1, 100_000),
    "overflow": _one_of("drop_oldest", "drop_newest", "block"),
    "destination": check_destination,
    "paused": _boolean,
    "paused_reason": _text,
    "skip_before_us": _integer(0, 2**62),
}
