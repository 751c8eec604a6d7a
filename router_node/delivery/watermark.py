"""How far a partition has been read over all its ten streams: up to there, events can be put in order.

An append numbers its events and adds them to their streams in one atomic step. So when an event has been read, every
event with a lower number is in its stream already, and a read of that stream begun afterwards finds it.
"""

from __future__ import annotations

from router_node.log.port import NOWHERE, Position

LEVELS = 10


class Watermark:
    """The position up to which each stream of one partition has been read."""

    def __init__(self) -> None:
        self._fronts = [NOWHERE] * LEVELS
        self.seen = NOWHERE

    @property
    def through(self) -> Position:
        """The position up to which every event of the partition has been read."""
        return min(self._fronts)

    def behind(self, position: Position) -> list[int]:
        """Return the priorities of the streams that may still have events before ``position``."""
        return [priority for priority, front in enumerate(self._fronts) if front < position]

    def saw(self, position: Position) -> None:
        """An event at ``position`` was read."""
        self.seen = max(self.seen, position)

    def read(self, priority: int, asked_at: Position, last: Position, *, drained: bool) -> None:
        """A stream was read.

        ``asked_at`` is what :attr:`seen` was when it was asked for, ``last`` the position of the last event read or
        ``NOWHERE``; ``drained`` says that nothing was left in the stream.
        """
        front = max(last, asked_at) if drained else last
        self._fronts[priority] = max(self._fronts[priority], front)
