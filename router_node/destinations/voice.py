"""How often a failure that goes on is told: once a minute for each kind, with how many were not."""

from __future__ import annotations

from collections import Counter

QUIET_S = 60.0


class Voice:
    """Says which log lines are due; ``now`` is in seconds of a clock that does not go back."""

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}
        self._held_back: Counter[str] = Counter()

    def may_say(self, kind: str, now: float) -> int | None:
        """Return how many of a kind were held back since its last line, None to hold back this one too."""
        if kind in self._said_at and now - self._said_at[kind] < QUIET_S:
            self._held_back[kind] += 1
            return None
        self._said_at[kind] = now
        return self._held_back.pop(kind, 0)
