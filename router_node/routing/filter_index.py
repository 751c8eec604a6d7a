"""Which of many filters an event passes, without trying them one by one.

Filters that fix the same paths and bound the same one make a group. An event's values at those paths are looked up in
the group at once; what is there has all its equalities met. Ranges are found by bisection (range_tree), and only
what neither decides is checked, once for all filters at a place that share it (filter_cell). What is found is exactly
what the filters pass one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

from router_node.routing.effort import Effort, TooMuch
from router_node.routing.filter_cell import Cell, Rest, Rests
from router_node.routing.filter_conditions import Conditions, Signature
from router_node.routing.filter_elements import Many
from router_node.routing.filter_leaf import Leaf
from router_node.routing.filter_ranges import Ranges
from router_node.routing.filter_reading import Read, reader
from router_node.routing.load import Peak
from router_node.routing.range_tree import Range
from router_node.routing.route import Route

MAX_GROUPS = 64
"""Groups of an index: each costs every event a look-up. Filters of other kinds are filed by a part of theirs."""

_SCANNED = Signature(())
_UNREAD = object()
_KeyOf = Callable[[list[Any]], Hashable]


class FilterIndex:
    """Routes by their filters.

    ``load`` is how many conditions are checked one by one for an event, at worst; ``lookups`` how many values it is
    looked up by.
    """

    def __init__(self, rests: Rests) -> None:
        self._rests = rests
        self._groups: dict[Signature, _Group] = {}
        self._elsewhere: dict[Route, Signature] = {}
        self._reads: list[Read] = []
        self._probes: list[tuple[_KeyOf, Callable[[Hashable], Cell | None], int]] = []
        self._size = 0
        self.load = 0
        self.lookups = 0

    def __len__(self) -> int:
        return self._size

    def add(self, route: Route, conditions: Conditions, room: int) -> None:
        """File a route by its filter, with at most ``room`` lookups more."""
        signature = self._room_for(route, conditions, room)
        group = self._groups.get(signature)
        if group is None:
            group = self._groups[signature] = _Group(signature)
            self.lookups += _decides(signature)
            self._arrange()
        filed = conditions.filed(signature)
        rest = self._rests.of(filed.rest, filed.cost)
        for key in filed.keys:
            self.load += group.add(key, filed.range, route, rest)
        self._size += 1

    def remove(self, route: Route, conditions: Conditions) -> None:
        """Take out a route that was added with the same filter."""
        signature = self._elsewhere.pop(route, None) or conditions.signature()
        group, filed = self._groups[signature], conditions.filed(signature)
        rest = self._rests.of(filed.rest, filed.cost)
        for key in filed.keys:
            self.load += group.remove(key, filed.range, route, rest)
        if not group.cells:
            del self._groups[signature]
            self.lookups -= _decides(signature)
            self._arrange()
        self._size -= 1

    def match(self, document: Mapping[str, Any], found: list[Route]) -> None:
        """Add to ``found`` the routes whose filter the event object passes; one may be there more than once."""
        values: list[Any] = []
        try:
            for read in self._reads:
                values.append(read(document))  # noqa: PERF401 - what was read is not read again
        except TooMuch:
            values += [self._read_if_allowed(read, document) for read in self._reads[len(values) :]]
            self._match_many(values, document, found)
            return
        if Many in map(type, values):
            self._match_many(values, document, found)
            return
        values.append(None)  # at -1, for groups without a range
        effort = self._rests.effort
        for key_of, look_up, ranged in self._probes:
            cell = look_up(key_of(values))
            if cell is not None:
                cell.match(values[ranged], document, found, effort)

    def _match_many(self, values: Sequence[Any], document: Mapping[str, Any], found: list[Route]) -> None:
        """Match an event with several values at a path. Groups that it is too much for are undecided as a whole."""
        effort = self._rests.effort
        at: dict[str | None, Any] = {None: None, **dict(zip(self._paths(), values, strict=True))}
        for group in self._groups.values():
            paths, ranged = group.signature
            try:
                if _UNREAD in (wanted := [at[path] for path in (*paths, ranged)]):
                    raise TooMuch
                for cell in group.reached(wanted[:-1], effort):
                    cell.match(wanted[-1], document, found, effort)
            except TooMuch:
                effort.overlooked.append(group.routes())

    def _read_if_allowed(self, read: Read, document: Mapping[str, Any]) -> Any:
        try:
            return read(document)
        except TooMuch:
            return _UNREAD

    def _room_for(self, route: Route, conditions: Conditions, room: int) -> Signature:
        """Return the group for a filter: the one that decides most of it, of those there are when there are many."""
        best = conditions.signature()
        if best in self._groups or (len(self._groups) < MAX_GROUPS and _decides(best) <= room):
            return best
        fitting = filter(conditions.fits, self._groups)
        self._elsewhere[route] = max(fitting, key=_decides, default=_SCANNED)
        return self._elsewhere[route]

    def _paths(self) -> Iterator[str]:
        """Return the paths that groups look at, each once, in a fixed order."""
        named = (path for paths, ranged in self._groups for path in (*paths, ranged) if path is not None)
        return iter(dict.fromkeys(named))

    def _arrange(self) -> None:
        """Make ready what a match goes through, after a group came or went."""
        at = {path: place for place, path in enumerate(self._paths())}
        self._reads = [reader(path, self._rests.effort) for path in at]
        self._probes = [
            (_key_of([at[path] for path in paths]), group.cells.get, -1 if ranged is None else at[ranged])
            for (paths, ranged), group in self._groups.items()
        ]


class _Group:
    """The filters of one kind, by the values that they fix: the bare value when it is one."""

    __slots__ = ("cells", "peak", "signature")

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.cells: dict[Hashable, Cell] = {}
        self.peak = Peak()

    def add(self, key: Hashable, span: Range, route: Route, rest: Rest | None) -> int:
        """File a route at a key; returns by what the largest load of a key has changed."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        load = cell.load
        cell.add(span, route, rest, Leaf if self.signature.ranged is None else Ranges)
        return self.peak.change(key, cell.load - load) if cell.load != load else 0

    def remove(self, key: Hashable, span: Range, route: Route, rest: Rest | None) -> int:
        """Take out what was added so; returns the same."""
        cell = self.cells[key]
        load = cell.load
        cell.remove(span, route, rest)
        if cell.is_empty:
            del self.cells[key]
        return self.peak.change(key, cell.load - load) if cell.load != load else 0

    def routes(self) -> Iterator[Route]:
        """Yield all routes, some more than once."""
        for cell in self.cells.values():
            yield from cell.routes()

    def reached(self, values: Sequence[Any], effort: Effort) -> list[Cell]:
        """Return what the values of an event lead to when some are Many, by the shorter way. Raises TooMuch.

        Those are looking up each combination, and going through what there is.
        """
        sets: list[Collection[Hashable]] = [value.keys if type(value) is Many else (value,) for value in values]
        effort.spend(min(math.prod(map(len, sets)), len(sets) * len(self.cells)))
        if len(sets) == 1:
            keys: Collection[Hashable] = self.cells.keys() & sets[0]
        elif math.prod(map(len, sets)) <= len(self.cells):
            keys = [key for key in product(*sets) if key in self.cells]
        else:
            keys = [key for key in self.cells if all(map(_is_in, key, sets))]  # type: ignore[call-overload]
        return [self.cells[key] for key in keys]


def _decides(signature: Signature) -> int:
    """Return how many of a filter's conditions its place in such a group decides."""
    return len(signature.paths) + (signature.ranged is not None)


def _is_in(value: Hashable, among: Collection[Hashable]) -> bool:
    return value in among


def _key_of(places: Sequence[int]) -> _KeyOf:
    return itemgetter(*places) if places else lambda _: ()
