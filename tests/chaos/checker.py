"""The bookkeeper of a run: it knows each event published, acknowledged and delivered, and what that breaks."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from partitioning.slots import SlotTable

Lane = tuple[str, str, int]


class Arrival(NamedTuple):
    """The first delivery of an event for a subscription. Times are of time.monotonic()."""

    at: float
    subscription: str
    partition: int
    published_at: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing of a partition arrived for a subscription."""

    seconds: float
    subscription: str
    partition: int


class Checker:
    """Notes what happens, in the order this process sees it.

    Events are numbered per (correlation_id, priority) by ``payload["n"]``, and the publisher of a key sends no event
    before the one ahead of it is acknowledged. So the order accepted is the order of the numbers, and a violation is
    the FIRST delivery of an event after the first delivery of a younger one of its key. Repeats are no violation: what
    was delivered and not yet settled when its owner went away comes again, in order, from the next. For a ``strict``
    subscription the events of a key are also numbered over all priorities, by ``payload["turn"]``.
    """

    def __init__(self, subscriptions: Collection[str], table: SlotTable, strict: Collection[str] = ()) -> None:
        self.subscriptions = tuple(subscriptions)
        self._strict = frozenset(strict)
        self.published: dict[str, float] = {}
        self.acknowledged: set[str] = set()
        self.arrivals: list[Arrival] = []
        self.violations: list[str] = []
        self._table = table
        self._seen: dict[str, dict[str, int]] = {name: defaultdict(int) for name in subscriptions}
        self._youngest: dict[Lane, int] = {}
        self._latest: dict[str, int] = {}

    def publishes(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Note that events are published for the first time, now."""
        now = time.monotonic()
        for event in events:
            self.published[event["id"]] = now

    def delivered(self, subscription: str, event: Mapping[str, Any]) -> None:
        """Note a delivery."""
        seen = self._seen[subscription]
        seen[event["id"]] += 1
        if seen[event["id"]] > 1:
            return
        key, priority, number = event["correlation_id"], event["priority"], event["payload"]["n"]
        youngest = self._youngest.get((subscription, key, priority), -1)
        if number < youngest:
            self.violations.append(f"{subscription}: {key} priority {priority}: first saw {number} after {youngest}")
        self._youngest[subscription, key, priority] = max(number, youngest)
        if subscription in self._strict:
            turn, latest = event["payload"]["turn"], self._latest.get(key, -1)
            if turn < latest:
                self.violations.append(f"{subscription}: {key}: first saw turn {turn} after {latest}")
            self._latest[key] = max(turn, latest)
        partition = self._table.partition_of(key)
        self.arrivals.append(Arrival(time.monotonic(), subscription, partition, self.published[event["id"]]))

    def undelivered(self) -> dict[str, set[str]]:
        """Return by subscription the events that were acknowledged and never delivered."""
        missing = {name: self.acknowledged - seen.keys() for name, seen in self._seen.items()}
        return {name: ids for name, ids in missing.items() if ids}

    def count(self, subscription: str) -> int:
        """Return how many different events a subscription has got."""
        return len(self._seen[subscription])

    @property
    def repeats(self) -> int:
        """Deliveries beyond the first of each event, over all subscriptions."""
        return sum(sum(seen.values()) - len(seen) for seen in self._seen.values())

    def first_arrivals(self, subscription: str, since: Mapping[int, float]) -> dict[int, float]:
        """Return by partition when the first event arrived at or after the time ``since`` names for it."""
        first: dict[int, float] = {}
        for arrival in self.arrivals:
            moment = since.get(arrival.partition)
            if arrival.subscription == subscription and moment is not None and arrival.at >= moment:
                first.setdefault(arrival.partition, arrival.at)
        return first

    def longest_gaps(self, begin: float, end: float) -> list[Gap]:
        """Return for each subscription and partition its longest gap between two times, the longest first.

        Under a steady load over all partitions a gap beyond the publishers' pause is a pause of delivery; a publisher
        that lost its connection can only make it longer.
        """
        last: dict[tuple[str, int], float] = {
            (name, partition): begin for name in self.subscriptions for partition in range(self._table.partitions)
        }
        longest = dict.fromkeys(last, 0.0)
        for arrival in self.arrivals:
            if begin <= arrival.at <= end:
                lane = (arrival.subscription, arrival.partition)
                longest[lane] = max(longest[lane], arrival.at - last[lane])
                last[lane] = arrival.at
        for lane, at in last.items():
            longest[lane] = max(longest[lane], end - at)
        gaps = [Gap(seconds, *lane) for lane, seconds in longest.items()]
        return sorted(gaps, key=lambda gap: gap.seconds, reverse=True)
