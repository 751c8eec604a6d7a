"""Events that carry their number, and whoever receives them says whether all came, and each key in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from benchmarks.flights import endless_events
from router_client.event import Event


def numbered_events(count: int, *, skip: int = 0) -> Iterator[Event]:
    """Yield ``count`` real events, all but the first ``skip`` of the year; ``metadata.n`` counts from ``skip``."""
    for number, event in enumerate(islice(endless_events(), skip, skip + count), skip):
        yield replace(event, metadata={"n": number})


class Received:
    """What one subscription got of the events numbered below ``end``.

    ``misplaced`` counts events that came, for the first time, after a later one of their key and priority.
    """

    def __init__(self, end: int) -> None:
        self._seen = bytearray(end)
        self._last: dict[tuple[str, int], int] = {}
        self.count = self.misplaced = self.repeated = 0

    def take(self, event: Mapping[str, Any]) -> bool:
        """Note an event object; False when it came before."""
        number = event["metadata"]["n"]
        if self._seen[number]:
            self.repeated += 1
            return False
        self._seen[number] = 1
        self.count += 1
        key = event["correlation_id"], event["priority"]
        if number < self._last.get(key, -1):
            self.misplaced += 1
        else:
            self._last[key] = number
        return True

    def check(self, expected: int, who: str) -> None:
        """Raise AssertionError unless just ``expected`` events came, and each key in order."""
        if self.count != expected or self.misplaced:
            raise AssertionError(f"{who} got {self.count} of {expected} events, {self.misplaced} out of order")
