"""What one member of a consumer group holds: what may be delivered now, and how far its offsets may be committed.

Pure: the caller tells the time, in seconds of a clock that does not go back. Kafka knows of each partition only how far
it is done, so an offset is committed when it is settled and all before it are.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Any

Place = tuple[str, int]
"""A topic and the number of a partition; equal to aiokafka's TopicPartition."""


@dataclass(slots=True, eq=False)
class Item:
    """A record that is not settled; ``key`` holds back those behind it with the same, None holds back none."""

    record: Any
    event: dict[str, Any]
    key: str | None
    attempt: int = 0

    @property
    def place(self) -> Place:
        """Its partition."""
        return self.record.topic, self.record.partition

    @property
    def delivery_id(self) -> str:
        """Another one for each attempt: who settles an earlier one settles nothing."""
        return f"{self.record.topic}:{self.record.partition}:{self.record.offset}:{self.attempt}"


class Held:
    """Items on their way from a topic to a subscriber and back."""

    def __init__(self) -> None:
        self._ready: deque[Item] = deque()
        self._behind: dict[str, deque[Item]] = {}
        self._retries: list[tuple[float, int, Item]] = []
        self._retried = 0
        self._in_flight: dict[str, tuple[float, Item]] = {}
        self._open: dict[Place, dict[int, None]] = {}
        self._ends: dict[Place, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    @property
    def in_flight(self) -> int:
        """How many are with the subscriber."""
        return len(self._in_flight)

    def add(self, item: Item) -> None:
        """Take a record in; those of a partition come in their order."""
        self.add_aside(item)
        if item.key is None:
            self._ready.append(item)
        elif item.key in self._behind:
            self._behind[item.key].append(item)
        else:
            self._behind[item.key] = deque()
            self._ready.append(item)

    def add_aside(self, item: Item) -> None:
        """Take a record in that is not to be delivered, and has to be settled all the same."""
        self._open.setdefault(item.place, {})[item.record.offset] = None
        self._ends[item.place] = item.record.offset + 1

    def skip(self, place: Place, offset: int) -> None:
        """Pass over a record that needs no settling."""
        self._ends[place] = offset + 1

    def take(self, most: int, now: float, timeout_s: float) -> list[Item]:
        """Return what is to be delivered now, at most ``most``; an item not settled within ``timeout_s`` has failed."""
        while self._retries and self._retries[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._retries)[2])
        taken = [self._ready.popleft() for _ in range(min(max(most, 0), len(self._ready)))]
        for item in taken:
            item.attempt += 1
            self._in_flight[item.delivery_id] = now + timeout_s, item
        return taken

    def next_retry_at(self) -> float | None:
        """Return when an item may be delivered again, None when none waits."""
        return self._retries[0][0] if self._retries else None

    def extend(self, delivery_id: str, until: float) -> None:
        """Give a delivery more time; one that is not in flight is left alone."""
        found = self._in_flight.pop(delivery_id, None)
        if found is not None:
            self._in_flight[delivery_id] = until, found[1]

    def overdue(self, now: float) -> list[str]:
        """Return the deliveries whose time is up. Only the first that are not are looked at: all have one timeout."""
        late = []
        for delivery_id, (until, _) in self._in_flight.items():
            if until > now:
                break
            late.append(delivery_id)
        return late

    def back(self, delivery_id: str) -> Item | None:
        """Take a delivery back from the subscriber, to be settled or delivered again; None if it has none of the id."""
        found = self._in_flight.pop(delivery_id, None)
        return None if found is None else found[1]

    def retry(self, item: Item, at: float) -> None:
        """Deliver an item again at a time; its key waits for it."""
        self._retried += 1
        heapq.heappush(self._retries, (at, self._retried, item))

    def settle(self, item: Item) -> None:
        """Be done with an item; the next of its key may go."""
        self._open[item.place].pop(item.record.offset, None)
        if item.key is None:
            return
        behind = self._behind[item.key]
        if behind:
            self._ready.append(behind.popleft())
        else:
            del self._behind[item.key]

    def offsets(self) -> dict[Place, int]:
        """Return for each partition the offset of the first record that is not settled: all before it are."""
        return {place: next(iter(self._open.get(place, ())), end) for place, end in self._ends.items()}

    def clear(self) -> None:
        """Forget everything: the partitions are gone."""
        self.__init__()  # type: ignore[misc]
