"""Events of a partition in the order accepted, whatever their priority, for strictly ordered subscriptions."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Protocol

from router_node.delivery.item import Head
from router_node.delivery.watermark import Watermark
from router_node.log.port import Entry, Position

Early = tuple[Position, int, Entry, Callable[[], None]]


class Taker(Protocol):
    """A subscription's dispatch, as this one needs it."""

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        """Take an event that matched."""
        ...


class InOrder:
    """The way in of a strictly ordered subscription."""

    def __init__(self, sequencer: Sequencer, taker: Taker) -> None:
        self._sequencer = sequencer
        self._taker = taker

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        """Have the event offered when everything before it has been."""
        self._sequencer.hold(entry, position, partial(self._taker.offer, entry, position, body, head))


class Sequencer:
    """Holds events that were read early until everything before them has been read.

    ``release`` is told of each entry whose event it lets go. What it holds is bounded by what is read: the reader
    goes on with the streams that are :meth:`wanted` when there is no room for others.
    """

    def __init__(self, release: Callable[[Entry], None]) -> None:
        self._release = release
        self._early: dict[int, list[Early]] = {}
        self._marks: dict[int, Watermark] = defaultdict(Watermark)
        self._serial = count()

    def __len__(self) -> int:
        return sum(map(len, self._early.values()))

    def mark(self, partition: int) -> Watermark:
        """Return the partition's watermark."""
        return self._marks[partition]

    def hold(self, entry: Entry, position: Position, take: Callable[[], None]) -> None:
        """Have ``take`` called when it is the event's turn; its entry is held until then."""
        entry.outstanding += 1
        early = self._early.setdefault(entry.partition, [])
        heapq.heappush(early, (position, next(self._serial), entry, take))

    def advance(self, partition: int) -> None:
        """More of a partition was read: let go of what is in order now."""
        early = self._early.get(partition)
        if not early:
            return
        through = self._marks[partition].through
        while early and early[0][0] <= through:
            _, _, entry, take = heapq.heappop(early)
            take()
            self._release(entry)
        if not early:
            del self._early[partition]

    def wanted(self) -> list[tuple[int, int]]:
        """Return the (partition, priority) streams to be read before what is held can go on."""
        return [
            (partition, priority)
            for partition, early in self._early.items()
            for priority in self._marks[partition].behind(early[0][0])
        ]

    def lose(self, partition: int) -> None:
        """Forget a partition: its next owner reads it anew."""
        self._early.pop(partition, None)
        self._marks.pop(partition, None)
