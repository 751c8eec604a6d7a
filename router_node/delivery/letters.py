"""Dead letters, as the lanes that give events up write them."""

from __future__ import annotations

import orjson

from router_node.delivery.item import Item
from router_node.log.port import LaneKey, Position
from stores.ports import DeadLetter


def dead_letter(
    lane: LaneKey,
    position: Position,
    accepted_at_us: int,
    body: bytes,
    *,
    reason: str,
    error: str,
    attempts: int,
    dead_at_us: int,
    event_id: str,
    event_type: str,
) -> DeadLetter:
    """Return the letter of the event at ``position`` in ``lane``; the same event and lane give the same id."""
    return DeadLetter(
        id=f"{lane.partition}-{position.generation}-{position.sequence}-{lane.subscription}",
        subscription=lane.subscription,
        partition=lane.partition,
        reason=reason,
        error=error,
        attempts=attempts,
        accepted_at_us=accepted_at_us,
        dead_at_us=dead_at_us,
        event_id=event_id,
        event_type=event_type,
        body=body,
    )


def letter_of(item: Item, reason: str, dead_at_us: int) -> DeadLetter:
    """Return the letter of an item that is given up."""
    event = orjson.loads(item.body)
    return dead_letter(
        item.lane.key,
        item.position,
        item.accepted_at_us,
        item.body,
        reason=reason,
        error=item.error,
        attempts=item.attempts,
        dead_at_us=dead_at_us,
        event_id=event["id"],
        event_type=event["type"],
    )
