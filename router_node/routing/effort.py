"""What matching one event may cost: counted in steps where an event can be made to need many, and bounded.

Conditions on single values are bounded when subscriptions are put (see route_table); they are not counted here. What an
event can multiply is: the elements of its arrays, and the length of its texts, by the conditions that look at them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from router_node.routing.filter_elements import Many, scalars_of

if TYPE_CHECKING:
    from router_node.routing.route import Route

BASE_STEPS = 1000
"""Steps that every event may take. One is about 0.1 µs."""
BYTES_PER_STEP = 2
"""Bytes of an event for which it may take a step more."""


class TooMuch(Exception):
    """This would take more steps than the event has left; what costs less may still be checked."""


class TooCostly(Exception):
    """An event was not matched whole: ``found`` are routes that it goes to, ``undecided`` those left unasked.

    Both may have a route more than once. ``undecided`` is to be read while nothing is put or removed.
    """

    def __init__(self, found: list[Route], undecided: Iterable[Route]) -> None:
        super().__init__("some filters would take more steps on this event than one of its size may take")
        self.found = found
        self.undecided = undecided


class Effort:
    """The steps that the event being matched has left, what is known of its arrays, and whom it was too much for.

    Those are ``undecided``, each route, and ``overlooked``, the routes of groups, which may be many.
    """

    __slots__ = ("_known", "left", "overlooked", "undecided")

    def __init__(self) -> None:
        self.left: float = BASE_STEPS
        self.undecided: list[Route] = []
        self.overlooked: list[Iterable[Route]] = []
        self._known: dict[int, tuple[Sequence[Any], Many]] = {}

    def begin(self, size: int) -> None:
        """Go on to another event, of ``size`` bytes."""
        self.left = BASE_STEPS + size // BYTES_PER_STEP
        if self._known:
            self._known.clear()
        if self.undecided or self.overlooked:
            self.undecided, self.overlooked = [], []

    def too_costly(self, found: list[Route]) -> TooCostly:
        """Return what tells that some were left undecided, beside those found."""
        return TooCostly(found, chain(self.undecided, chain.from_iterable(self.overlooked)))

    def spend(self, steps: int) -> None:
        """Take steps. Raises TooMuch when there are not so many left, and then takes none."""
        if steps > self.left:
            raise TooMuch
        self.left -= steps

    def took(self, steps: int) -> None:
        """Take steps that were gone already, so many of them as are left."""
        self.left = max(0, self.left - steps)

    def elements(self, array: Sequence[Any]) -> Many:
        """Return the scalars of an array of the event: gone through once, however many conditions ask."""
        known = self._known.get(id(array))  # the array is kept beside, so its id stays its own
        if known is None:
            self.spend(len(array))
            known = self._known[id(array)] = array, Many(scalars_of(array), self.spend)
        else:
            self.spend(1)
        return known[1]


class _Unlimited(Effort):
    """For filters that are tried by themselves, on whichever event and thread."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.left = math.inf

    def elements(self, array: Sequence[Any]) -> Many:
        keys: set[Hashable] = scalars_of(array)
        return Many(keys, self.spend)


UNLIMITED = _Unlimited()
