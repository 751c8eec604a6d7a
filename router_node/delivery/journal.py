"""Where the outcome of each attempt is noted; the delivery log listens here."""

from __future__ import annotations

from typing import Protocol

from router_node.contract import Remark
from router_node.delivery.item import Item
from stores.ports import Attempt


class Journal(Protocol):
    """Hears of attempts as they end."""

    def wants(self, outcome: str, attempt: int) -> bool:
        """Tell whether an attempt, the how manyeth of its event, is to be noted when it ends like that."""
        ...

    def note(self, attempt: Attempt) -> None:
        """Take note. Called on the event loop for every attempt wanted: returns at once, holds a bounded number."""
        ...


def attempt_of(item: Item, outcome: str, at_us: int, latency_ms: float, remark: Remark, *, dead: bool) -> Attempt:
    """Return what is to be noted of an attempt that has ended."""
    return Attempt(
        at_us,
        item.event_id,
        item.lane.key.subscription,
        item.lane.key.partition,
        item.attempts,
        outcome,
        dead,
        latency_ms,
        remark.status,
        "" if outcome == "acked" else item.error,
        remark.response,
    )
