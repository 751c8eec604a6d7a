"""A clock that tests move by hand."""

from __future__ import annotations


class FakeClock:
    """router_node.clock.Clock whose seconds pass only when told to; its random number is always a half."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start

    def monotonic(self) -> float:
        """Return the time in seconds since an arbitrary moment."""
        return self._now

    def log_us(self) -> int:
        """Return the same time in microseconds."""
        return int(self._now * 1e6)

    def random(self) -> float:
        """Return a half: no jitter."""
        return 0.5

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ValueError for a negative amount: a monotonic clock never goes back."""
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back {-seconds} s")
        self._now += seconds
