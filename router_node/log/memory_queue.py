"""A lane's queue in memory: appended at the end, read from any place on, emptied from the middle."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from router_node.log.port import Spilled

SLACK = 8


class MemoryQueue:
    """Spilled events by their ids, which grow. Reading and removing cost the same however long the queue is."""

    def __init__(self) -> None:
        self._events: dict[bytes, Spilled] = {}
        self._order: list[bytes] = []

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Spilled]:
        return iter(self._events.values())

    def add(self, event: Spilled) -> None:
        """Append an event; its id must be greater than all before."""
        self._events[event.queue_id] = event
        self._order.append(event.queue_id)

    def pop(self, queue_id: bytes) -> Spilled | None:
        """Remove and return an event, None when it is not there."""
        event = self._events.pop(queue_id, None)
        if len(self._order) > 2 * len(self._events) + SLACK:
            self._order = list(self._events)
        return event

    def after(self, queue_id: bytes, count: int) -> list[Spilled]:
        """Return up to ``count`` events with greater ids, in order."""
        places = range(bisect_right(self._order, queue_id), len(self._order))
        left = (event for at in places if (event := self._events.get(self._order[at])) is not None)
        return list(islice(left, count))
