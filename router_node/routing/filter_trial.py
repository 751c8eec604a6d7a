"""A filter, or a whole subscription, tried against one event: whether the event would go there, and why or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from router_client.errors import InvalidInput
from router_client.event import MAX_EVENT_BYTES, checked, complete, encode_object
from router_client.spec import SubscriptionSpec
from router_client.topics import matches
from router_node.routing.filter_explanation import Condition, explain


class Verdict(NamedTuple):
    """What one of the questions before the filter comes to: ``asked`` is what the subscription has, or is."""

    asked: Any
    found: str
    holds: bool


class Trial(NamedTuple):
    """What became of it. A question that was not asked is None; all others have to hold, and every condition."""

    conditions: tuple[Condition, ...]
    topics: Verdict | None = None
    target: Verdict | None = None
    global_filters: tuple[Condition, ...] = ()

    @property
    def matches(self) -> bool:
        """Tell whether the event would go there."""
        asked = [each.holds for each in (self.topics, self.target) if each is not None]
        return all(asked) and all(each.holds for each in (*self.conditions, *self.global_filters))

    def to_object(self) -> dict[str, Any]:
        """Return the JSON object of the API."""
        body: dict[str, Any] = {
            "matches": self.matches,
            "conditions": [each.to_object() for each in self.conditions],
        }
        if self.topics is not None:
            patterns, topic, holds = self.topics
            body["topics"] = {"patterns": list(patterns), "type": topic, "holds": holds}
        if self.target is not None:
            name, target, holds = self.target
            body["target"] = {"subscription": name, "target": target, "holds": holds}
        if self.global_filters:
            body["global_filters"] = [each.to_object() for each in self.global_filters]
        return body


def as_kept(body: object, max_bytes: int = MAX_EVENT_BYTES) -> dict[str, Any]:
    """Return an event object as a filter would meet it, had it been published now; it needs no id.

    Raises InvalidInput whose ``field`` is ``event`` or a member of it, such as ``event.priority``.
    """
    try:
        kept: dict[str, Any] = orjson.loads(encode_object(complete(checked(body)), max_bytes))
    except InvalidInput as error:
        field = "event" if error.field in (None, "event") else f"event.{error.field}"
        raise type(error)(error.detail, field=field) from error
    return kept


def read_topics(value: object) -> tuple[str, ...]:
    """Return a list of topic patterns as a subscription may have them. Raises InvalidInput naming the one at fault."""
    return SubscriptionSpec.from_object("tried", {"topics": value}).topics


def try_filter(spec: Mapping[str, Any], event: Mapping[str, Any], topics: Sequence[str] = ()) -> Trial:
    """Try a filter, behind topic patterns when there are any. Raises InvalidInput naming the fault in the filter."""
    return Trial(explain(spec, event).conditions, _covered(topics, event["type"]) if topics else None)


def try_subscription(
    spec: SubscriptionSpec, event: Mapping[str, Any], global_filters: Sequence[Mapping[str, Any]]
) -> Trial:
    """Try all that decides whether an event goes to a subscription; see RouterEngine.goes_to."""
    gates = (explain(gate, event, f"global_filters[{index}]") for index, gate in enumerate(global_filters))
    target = event.get("target")
    return Trial(
        explain(spec.filter, event).conditions,
        _covered(spec.topics, event["type"]),
        None if target is None else Verdict(spec.name, target, target == spec.name),
        tuple(condition for gate in gates for condition in gate.conditions),
    )


def _covered(patterns: Sequence[str], topic: str) -> Verdict:
    return Verdict(patterns, topic, any(matches(pattern, topic) for pattern in patterns))
