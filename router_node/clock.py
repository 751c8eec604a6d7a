"""Time, as the stages see it: injected, so that tests move it by hand."""

from __future__ import annotations

import random
import time
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
    """The machine's clock; ``offset_us`` is added to it to get the log's time, which is Redis's, not ours."""

    def __init__(self, offset_us: int = 0) -> None:
        self.offset_us = offset_us

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def log_us(self) -> int:
        """See Clock."""
        return time.time_ns() // 1000 + self.offset_us

    def random(self) -> float:
        """See Clock."""
        return random.random()  # noqa: S311 - jitter needs no secrecy
