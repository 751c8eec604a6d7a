"""A rate, kept by tokens that fill up at that rate. Pure: the caller tells the time in seconds."""

from __future__ import annotations


class TokenBucket:
    """Holds at most a second's worth of tokens, at least one; None as the rate is no bound."""

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = rate
        self._size = max(1.0, rate or 0.0)
        self._tokens = self._size
        self._at = now

    def change(self, rate: float | None, now: float) -> None:
        """Go on at another rate."""
        self._fill(now)
        self._rate = rate
        self._size = max(1.0, rate or 0.0)
        self._tokens = min(self._tokens, self._size)

    def available(self, now: float) -> int:
        """Return how many tokens there are; more than anybody can take when there is no bound."""
        if self._rate is None:
            return 2**31
        self._fill(now)
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Take tokens that are available."""
        if self._rate is not None:
            self._tokens -= count

    def next_at(self, now: float) -> float:
        """Return when there is at least one."""
        if self._rate is None or self._tokens >= 1:
            return now
        return now + (1 - self._tokens) / self._rate

    def _fill(self, now: float) -> None:
        if self._rate is not None:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
