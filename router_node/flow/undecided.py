"""Events that some filters take too long to check on: kept as dead letters of those subscriptions, lost to none."""

from __future__ import annotations

from itertools import islice

from router_node.delivery.item import Head
from router_node.delivery.undeliverable import Undeliverable
from router_node.log.port import Entry, LaneKey, Position
from router_node.routing.effort import TooCostly

REASON = "filter_cost"
LETTERS = 100
"""Subscriptions that get a dead letter of their own for one event; one more is the router's, for all others."""
LOOKED_THROUGH = 10_000
"""Routes among which those subscriptions are sought."""


class UndecidedKeeper:
    """Buries an event for each subscription whose filter was not checked on it, in the router's lane.

    Replaying such a letter delivers the event without asking the filter again; POST /v1/filters/test says whether it
    would have matched.
    """

    def __init__(self, undeliverable: Undeliverable, subscription: str) -> None:
        self._undeliverable = undeliverable
        self._subscription = subscription

    def keep(self, entry: Entry, position: Position, body: bytes, head: Head, cost: TooCostly) -> None:
        """Write the letters of one event; ``entry`` is held until they are durable."""
        found = {route.name for route in cost.found}
        looked_through = list(islice(cost.undecided, LOOKED_THROUGH))
        names = list(dict.fromkeys(route.name for route in looked_through if route.name not in found))
        reason = f"checking its filter would take more than an event of {len(body)} bytes may take to match"
        errors = dict.fromkeys(names[:LETTERS], f"{reason}; whether it matches was not decided")
        if len(names) > LETTERS or len(looked_through) == LOOKED_THROUGH:
            others = f"{len(names) - LETTERS} more subscriptions or more, the first of them"
            errors[self._subscription] = f"{reason}; so it was for {others} {', '.join(names[LETTERS : LETTERS + 5])}"
        self._undeliverable.bury(
            entry,
            [
                self._undeliverable.letter(
                    LaneKey(entry.partition, name, entry.priority),
                    position,
                    entry.accepted_at(position),
                    body,
                    REASON,
                    error,
                    event_id=head.event_id,
                    topic=head.topic,
                )
                for name, error in errors.items()
            ],
        )
