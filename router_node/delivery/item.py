"""One event in one lane: what is known of it, and where it stands."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from router_node.log.port import Entry, Position
from stores.ports import DeadLetter

if TYPE_CHECKING:
    from router_node.delivery.holder import Holder
    from router_node.delivery.lane import Lane

HALTED = 2**62
"""The time of the next attempt of an event that was given up and halts its key: until somebody decides."""


class State(IntEnum):
    """Where an item stands."""

    READY = 0
    BEHIND = 1
    IN_FLIGHT = 2
    WAITING = 3
    DONE = 4


class Head(msgspec.Struct, frozen=True, gc=False, rename={"event_id": "id", "topic": "type"}):
    """What routing and delivery need to know of an event, besides its bytes and whatever a filter looks at."""

    event_id: str
    correlation_id: str
    topic: str
    priority: int
    source: str = ""
    target: str | None = None
    expires_at: datetime | None = None
    deliver_at: datetime | None = None

    @classmethod
    def of(cls, body: bytes) -> Head:
        """Read an encoded event; its payload is passed over. Raises NotAnEvent."""
        try:
            return _read(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise NotAnEvent(f"not an event: {error}") from error

    @property
    def expires_us(self) -> int:
        """When it expires, µs since 1970; 0 when it does not."""
        return _time_us(self.expires_at)

    @property
    def deliver_us(self) -> int:
        """When it is due to be routed, µs since 1970; 0 when at once."""
        return _time_us(self.deliver_at)


class NotAnEvent(Exception):
    """What the log holds is no event."""


_read = msgspec.json.Decoder(Head).decode


def _time_us(time: datetime | None) -> int:
    return int(time.timestamp() * 1e6) if time is not None else 0


class Item:
    """One event in one lane. ``key`` is None when its subscription does not order events; ``routed_us`` is when it was
    due to be routed: when it was accepted, or the time it was scheduled for.
    """

    __slots__ = (
        "accepted_at_us",
        "attempts",
        "body",
        "deadline",
        "delivery_id",
        "due_us",
        "entry",
        "error",
        "event_id",
        "expires_us",
        "holder",
        "kept",
        "key",
        "lane",
        "letter",
        "position",
        "priority",
        "queue_id",
        "routed_us",
        "sent_at",
        "since",
        "state",
    )

    def __init__(
        self,
        lane: Lane,
        position: Position,
        accepted_at_us: int,
        body: bytes,
        head: Head,
        since: float,
        *,
        keyed: bool = True,
    ) -> None:
        self.lane = lane
        self.position = position
        self.accepted_at_us = accepted_at_us
        self.routed_us = max(accepted_at_us, head.deliver_us)
        self.body = body
        self.event_id = head.event_id
        self.key = head.correlation_id if keyed else None
        self.priority = head.priority
        self.expires_us = head.expires_us
        self.since = since
        self.entry: Entry | None = None
        self.kept = ""
        self.queue_id: bytes | None = None
        self.state = State.READY
        self.attempts = 0
        self.due_us = 0
        self.error = ""
        self.letter: DeadLetter | None = None
        self.delivery_id = ""
        self.holder: Holder | None = None
        self.sent_at = 0.0
        self.deadline = 0.0
