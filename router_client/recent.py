"""The ids of events dealt with lately, so that a repeated delivery need not be worked on twice."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

FORGET_EACH = 16
"""Times in a window at which ids that are too old are let go of."""


def delivered_id(event: Mapping[str, Any]) -> str:
    """Return what a delivered event object is remembered by: its id, and the replay that brings it again, if any."""
    replayed = event.get("metadata", {}).get("replayed")
    return f"{event['id']} {replayed}" if replayed else str(event["id"])


class RecentIds:
    """A set of ids that forgets: those older than ``window_s`` seconds, and the oldest beyond ``capacity``."""

    def __init__(self, capacity: int, window_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._window_s = window_s
        self._now = now
        self._forget_at = 0.0
        self._seen: OrderedDict[str, float] = OrderedDict()

    def add(self, event_id: str) -> None:
        """Remember ``event_id`` from now on; one already there counts as new again."""
        now = self._now()
        if event_id in self._seen:
            self._seen.move_to_end(event_id)
        self._seen[event_id] = now
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        if now >= self._forget_at:
            self._forget(now)
            self._forget_at = now + self._window_s / FORGET_EACH

    def __contains__(self, event_id: str) -> bool:
        added = self._seen.get(event_id)
        return added is not None and self._now() - added <= self._window_s

    def __len__(self) -> int:
        self._forget(self._now())
        return len(self._seen)

    def _forget(self, now: float) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if now - self._seen[oldest] <= self._window_s:
                return
            del self._seen[oldest]
