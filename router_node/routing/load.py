"""How much an event can meet at worst, kept up as it changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable


class Peak:
    """The largest load of many places, of which an event comes to one."""

    __slots__ = ("_loads", "_places", "largest")

    def __init__(self) -> None:
        self._loads: dict[Hashable, int] = {}
        self._places: Counter[int] = Counter()
        self.largest = 0

    def change(self, place: Hashable, by: int) -> int:
        """Change the load of a place; returns by what the largest has changed."""
        before, largest = self._loads.pop(place, 0), self.largest
        after = before + by
        if before:
            self._places[before] -= 1
        if after:
            self._loads[place] = after
            self._places[after] += 1
        self.largest = max(largest, after)
        while self.largest and not self._places[self.largest]:
            del self._places[self.largest]
            self.largest -= 1
        return self.largest - largest
