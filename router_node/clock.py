"""Time, as the stages see it: injected, so that tests move it by hand."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The three things the engine wants to know that are not in its input."""

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...

    def log_us(self) -> int:
        """Return the log's time in microseconds since 1970, as well as this node knows it."""
        ...

    def random(self) -> float:
        """Return a number in 0 <= x < 1, for jitter."""
        ...


class SystemClock:
    """The machine's monotonic clock, and the log's time: the machine's own until :meth:`set_log_us` tells it better.

    Between two tellings the log's time goes on by the monotonic clock, so that a wall clock that is wrong, or set
    while the node runs, changes nothing.
    """

    def __init__(self) -> None:
        self.set_log_us(time.time_ns() // 1000)

    def set_log_us(self, now_us: int) -> None:
        """Learn the log's time."""
        self._offset_us = now_us - time.monotonic_ns() // 1000

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def log_us(self) -> int:
        """See Clock."""
        return time.monotonic_ns() // 1000 + self._offset_us

    def random(self) -> float:
        """See Clock."""
        return random.random()  # noqa: S311 - jitter needs no secrecy


def moment_text(time_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
