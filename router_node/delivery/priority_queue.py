"""The queue manager: ten levels, bounded, with an overflow policy and a share of the turns for lower levels."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Generic, TypeVar

from router_client.spec import Overflow

T = TypeVar("T")


class Offer(Enum):
    """What became of an item that was offered."""

    TAKEN = "taken"
    DROPPED = "dropped"
    FULL = "full"


class PriorityQueue(Generic[T]):
    """Items by priority 9..0, first in first out within a level. Pure: no clock, no I/O.

    ``pop`` takes from the highest level that has something, but every ``share``-th turn goes to one of those below it,
    each in its turn, so that none starves under a steady stream of others. ``capacity`` bounds the number of items;
    beyond it ``drop_oldest`` gives up the oldest item of the lowest level (or the newcomer, when it ranks below all
    that is there), ``drop_newest`` the newcomer, and ``block`` answers FULL: whoever offers must wait or keep it
    elsewhere.
    """

    def __init__(self, capacity: int, overflow: Overflow = "block", share: int = 10) -> None:
        self._levels: dict[int, deque[T]] = {}  # made when first used: most queues only ever see one
        self._capacity = capacity
        self._overflow = overflow
        self._share = share
        self._turn = 0
        self._lower = -1
        self._size = 0
        self._filled = 0  # bit n is set when level n has something
        self.dropped = 0

    def __len__(self) -> int:
        return self._size

    def offer(self, item: T, priority: int) -> tuple[Offer, T | None]:
        """Queue ``item``; returns what became of it, and the item given up to make room, if any."""
        if self._size < self._capacity:
            self.push(item, priority)
            return Offer.TAKEN, None
        if self._overflow == "block":
            return Offer.FULL, None
        self.dropped += 1
        lowest = (self._filled & -self._filled).bit_length() - 1
        if self._overflow == "drop_newest" or priority < lowest:
            return Offer.DROPPED, None
        victim = self._take(lowest)
        self.push(item, priority)
        return Offer.TAKEN, victim

    def push(self, item: T, priority: int) -> None:
        """Queue an item regardless of the capacity: one that was admitted before and comes round again."""
        self._grown(priority).append(item)

    def push_front(self, item: T, priority: int) -> None:
        """Queue an item before its level's others: one that was given back."""
        self._grown(priority).appendleft(item)

    def pop(self) -> T | None:
        """Take the next item, or None."""
        if not self._size:
            return None
        self._turn += 1
        highest = self._filled.bit_length() - 1
        return self._take(highest if self._turn % self._share else self._next_below(highest))

    def clear(self) -> list[T]:
        """Remove and return everything."""
        items = [item for _, level in sorted(self._levels.items()) for item in level]
        self._levels.clear()
        self._size = self._filled = 0
        return items

    def sizes(self) -> dict[int, int]:
        """Return the number of items at each level."""
        return {priority: len(self._levels.get(priority, ())) for priority in range(10)}

    def _grown(self, priority: int) -> deque[T]:
        """Count an item more at a level, and return the level."""
        self._filled |= 1 << priority
        self._size += 1
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = deque()
        return level

    def _take(self, priority: int) -> T:
        level = self._levels[priority]
        item = level.popleft()
        if not level:
            self._filled &= ~(1 << priority)
        self._size -= 1
        return item

    def _next_below(self, highest: int) -> int:
        lower = [level for level in range(highest) if self._filled >> level & 1]
        if not lower:
            return highest
        self._lower = next((level for level in lower if level > self._lower), lower[0])
        return self._lower
