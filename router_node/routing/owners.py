"""Who made the durable subscriptions of a node's registry, and how many each has."""

from __future__ import annotations

import sys
from collections import Counter


class Owners:
    """Owners by subscription, and their counts kept up with each change; one without an owner takes no memory.

    Bounded by the registry, which forgets a name here when it removes the subscription.
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._made: Counter[str] = Counter()

    def of(self, name: str) -> str | None:
        """Return who made a subscription; None where nobody is known to have."""
        return self._of.get(name)

    def made_by(self, owner: str) -> int:
        """Return how many subscriptions there are that an owner made."""
        return self._made[owner]

    def note(self, name: str, owner: str | None) -> None:
        """Learn who made a subscription."""
        if owner == self._of.get(name):
            return
        self.forget(name)
        if owner is not None:
            self._of[name] = owner = sys.intern(owner)  # each subscription's comes from the store as a text of its own
            self._made[owner] += 1

    def forget(self, name: str) -> None:
        """Forget a subscription that is there no longer."""
        owner = self._of.pop(name, None)
        if owner is not None:
            self._made[owner] -= 1
            if not self._made[owner]:
                del self._made[owner]
