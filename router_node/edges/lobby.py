"""Connections between requests: how long each may be there without asking for something, and how many there may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from router_node.edges.conduct import Conduct, Fault
from router_node.edges.limits import Limits
from router_node.edges.open_files import sockets_allowed

LOOK_S = 1.0


class Guest(Protocol):
    """A connection, as the lobby sees it."""

    def dismiss(self) -> None:
        """Close: it has rested for too long, or others need its place."""
        ...

    def refuse_late(self) -> None:
        """Close, as a request's head did not arrive in time; say so when a part of it did."""
        ...


class Lobby:
    """Every connection that waits for a request, or for the rest of its head; who is being served is not here.

    One that has just come, or has begun a head, has ``head_timeout_s`` until the head is whole, however its bytes come.
    One that has been answered rests for ``keep_alive_s``. Beyond ``max_sockets`` those that have rested longest make
    room for new ones. Each step costs an entry in a dict: as all wait equally long, they are in the order of their end.
    """

    def __init__(self, limits: Limits, conduct: Conduct, now: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self.conduct = conduct
        self._now = now
        self._most = sockets_allowed(limits.max_sockets)
        self._heads: dict[Guest, float] = {}
        self._resting: dict[Guest, float] = {}

    def __len__(self) -> int:
        return len(self._heads) + len(self._resting)

    def came(self, guest: Guest, sockets: int) -> bool:
        """Receive a new connection, one of ``sockets`` of the node; False when there is no room for it."""
        if sockets > self._most:
            idlest = next(iter(self._resting), None)
            self.conduct.passing(Fault.CROWDED_OUT if idlest is not None else Fault.REFUSED_CONNECTIONS)
            if idlest is None:
                return False
            del self._resting[idlest]
            idlest.dismiss()
        self._heads[guest] = self._now() + self._limits.head_timeout_s
        return True

    def begins(self, guest: Guest) -> None:
        """The first byte of a head has come."""
        self._resting.pop(guest, None)
        if guest not in self._heads:
            self._heads[guest] = self._now() + self._limits.head_timeout_s

    def asks(self, guest: Guest) -> None:
        """A head is whole."""
        self._heads.pop(guest, None)

    def rests(self, guest: Guest) -> None:
        """All that was asked is answered."""
        if guest not in self._heads:
            self._resting[guest] = self._now() + self._limits.keep_alive_s

    def leaves(self, guest: Guest) -> None:
        """The connection has ended, or has become something else."""
        self._heads.pop(guest, None)
        self._resting.pop(guest, None)

    def look(self) -> None:
        """Send away whose time is over."""
        now = self._now()
        for guest in _over(self._heads, now):
            self.conduct.passing(Fault.SLOW_HEADS)
            guest.refuse_late()
        for guest in _over(self._resting, now):
            guest.dismiss()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        every = min(LOOK_S, self._limits.head_timeout_s / 4, self._limits.keep_alive_s / 4)
        while True:
            await asyncio.sleep(every)
            self.look()


def _over(waiting: dict[Guest, float], now: float) -> list[Guest]:
    found: list[Guest] = []
    for guest, end in waiting.items():
        if end > now:
            break
        found.append(guest)
    for guest in found:
        del waiting[guest]
    return found
