"""Retention: logs forget what is older than they have to keep, a little at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from router_node.clock import Clock
from stores.errors import StoreError

LOOKS = 20
LONGEST_LOOK_S = 60.0
STEP_ATTEMPTS = 2000
PAUSE_S = 0.05
DAY_US = 86_400 * 1_000_000

log = structlog.get_logger(__name__)


class Expiring(Protocol):
    """What keeps things for a time."""

    async def expire(self, before_us: int, limit: int) -> int:
        """Remove up to ``limit`` of the oldest that ended before then; returns how many went. Raises StoreError."""
        ...


class Retention:
    """Removes what ended more than ``days`` ago while ``mine`` says that it is this node's turn.

    Should two nodes think so for a moment, both remove; that does no harm.
    """

    def __init__(self, expiring: Expiring, days: float, clock: Clock, mine: Callable[[], bool]) -> None:
        self._expiring = expiring
        self._kept_us = int(days * DAY_US)
        self._look_s = min(self._kept_us / 1e6 / LOOKS, LONGEST_LOOK_S)
        self._clock = clock
        self._mine = mine
        self.expired = 0

    async def run(self) -> None:
        """Look every minute, or ``LOOKS`` times while it is kept if that is sooner, until cancelled."""
        while True:
            try:
                await self.sweep()
            except (StoreError, TimeoutError) as error:
                log.warning("what is old stays in the store for now", error=str(error))
            await asyncio.sleep(self._look_s)

    async def sweep(self) -> int:
        """Remove all that is old enough by now, in steps with a pause after each; returns how many went.

        A pause is at least as long as its step took: writers have the database to themselves half of the time.
        Raises StoreError.
        """
        before_us, removed = self._clock.log_us() - self._kept_us, 0
        while self._mine():
            began = self._clock.monotonic()
            gone = await self._expiring.expire(before_us, STEP_ATTEMPTS)
            removed += gone
            self.expired += gone
            if gone < STEP_ATTEMPTS:
                break
            await asyncio.sleep(max(PAUSE_S, self._clock.monotonic() - began))
        return removed
