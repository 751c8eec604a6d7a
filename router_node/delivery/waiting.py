"""Items whose next attempt is not due yet."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from router_node.delivery.item import Item


class Waiting:
    """A heap of items by the time of their next attempt, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._serial = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, item: Item, at: float) -> None:
        """Keep an item until ``at``."""
        heapq.heappush(self._heap, (at, next(self._serial), item))

    def due(self, now: float) -> Iterator[Item]:
        """Take out and yield what is due."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]

    def lose(self, partition: int) -> None:
        """Forget what comes from a partition."""
        self._heap = [each for each in self._heap if each[2].lane.key.partition != partition]
        heapq.heapify(self._heap)
