"""The circuit breaker of one webhook: one that keeps failing is left alone for a while, and then tried with care.

See Nygard, Release It! (2007). Pure: the caller tells the time, in seconds of a clock that does not go back.
"""

from __future__ import annotations

from enum import Enum

FAILURES = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class State(Enum):
    """What a breaker lets through: everything, nothing, or one attempt to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opens after ``FAILURES`` failures in a row, for a pause that doubles up to ``LONGEST_PAUSE_S``."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._open_until: float | None = None

    def state(self, now: float) -> State:
        """Return what is let through at ``now``."""
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if now < self._open_until else State.HALF_OPEN

    def reopens_at(self) -> float | None:
        """Return when one attempt is let through, None while it is closed."""
        return self._open_until

    def succeeded(self) -> bool:
        """Note an attempt that worked: the breaker closes. Returns True when that ends a pause."""
        was_open, self._open_until = self._open_until is not None, None
        self._failures, self._pause_s = 0, FIRST_PAUSE_S
        return was_open

    def failed(self, now: float) -> bool:
        """Note one that did not. Returns True when the breaker opens with it, or opens again."""
        self._failures += 1
        if self._open_until is not None and now < self._open_until:
            return False  # it was under way when the breaker opened
        if self._open_until is not None:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        elif self._failures < FAILURES:
            return False
        self._open_until = now + self._pause_s
        return True
