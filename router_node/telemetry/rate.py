"""How fast a counter grows."""

from __future__ import annotations

from collections.abc import Callable

RATE_S = 1.0


class Rate:
    """A counter's growth a second: over the time since it was last asked for, if that was ``over_s`` or more."""

    def __init__(self, monotonic: Callable[[], float], over_s: float = RATE_S) -> None:
        self._monotonic = monotonic
        self._over_s = over_s
        self._looked_at = monotonic()
        self._total = 0
        self._rate = 0.0

    def at(self, total: int) -> float:
        """Return the rate, now that the counter stands at ``total``."""
        elapsed = self._monotonic() - self._looked_at
        if elapsed >= self._over_s:
            self._rate = (total - self._total) / elapsed
            self._looked_at += elapsed
            self._total = total
        return self._rate
