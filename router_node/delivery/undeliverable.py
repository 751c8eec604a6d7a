"""Events given up outside any subscription's lanes: refused by the store, or not events at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from router_node.clock import Clock
from router_node.delivery.lane import Lane, Taken
from router_node.delivery.letters import dead_letter
from router_node.log.port import Entry, LaneKey, LaneStepped, Position
from stores.ports import DeadLetter


class Steps(Protocol):
    """The settle stage, as this one needs it."""

    def release(self, entry: Entry) -> None:
        """One event of ``entry`` is settled."""
        ...

    def make_durable(self, lane: Lane, window: Undeliverable) -> None:
        """The lane has something for the log."""
        ...


class Undeliverable:
    """Buries events for one of the router's own lanes (``subscription``), each with its reason."""

    def __init__(self, subscription: str, steps: Steps, clock: Clock) -> None:
        self._subscription = subscription
        self._steps = steps
        self._clock = clock
        self.buried = 0

    def letter(
        self,
        lane: LaneKey,
        position: Position,
        accepted_at_us: int,
        body: bytes,
        reason: str,
        error: str,
        *,
        event_id: str = "",
        topic: str = "",
    ) -> DeadLetter:
        """Return a dead letter of an event given up at the first attempt, in whichever lane."""
        return dead_letter(
            lane,
            position,
            accepted_at_us,
            body,
            reason=reason,
            error=error,
            attempts=1,
            dead_at_us=self._clock.log_us(),
            event_id=event_id,
            event_type=topic,
        )

    def bury(self, entry: Entry, letters: Sequence[DeadLetter]) -> None:
        """Write dead letters of an event; ``entry`` is held until they are durable."""
        if not letters:
            return
        self.buried += len(letters)
        entry.outstanding += 1
        lane = Lane(LaneKey(entry.partition, self._subscription, entry.priority))
        lane.dead += letters
        lane.releases.append(entry)
        self._steps.make_durable(lane, self)

    def stepped(self, lane: Lane, taken: Taken, answer: LaneStepped) -> None:
        """The letters are durable."""
        for entry in taken.releases:
            self._steps.release(entry)
