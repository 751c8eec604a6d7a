"""Discard: drop the queues of lanes whose subscription is gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from router_node.log.port import LaneKey, LaneLog, LogUnavailable, LostPartition, Released

PAUSE_S = 5.0

log = structlog.get_logger(__name__)


class Discarder:
    """Drops abandoned queues one after another; ``released`` hears of stored events that nothing holds any more."""

    def __init__(self, lanes: LaneLog, released: Callable[[Released], None]) -> None:
        self._lanes = lanes
        self._released = released
        self._abandoned: deque[LaneKey] = deque()
        self._more = asyncio.Event()
        self._none_left = asyncio.Event()
        self._none_left.set()

    def abandon(self, lanes: Iterable[LaneKey]) -> None:
        """Have the queues of lanes dropped: their subscription has ended, or the node it lived on has."""
        self._abandoned.extend(lanes)
        if self._abandoned:
            self._more.set()
            self._none_left.clear()

    async def all_discarded(self) -> None:
        """Wait until no abandoned queue is left: a new subscription of the same name then starts from nothing."""
        await self._none_left.wait()

    async def run(self) -> None:
        """Drop what is abandoned until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._abandoned:
                try:
                    answer = await self._lanes.discard(self._abandoned[0])
                    self._abandoned.popleft()
                    if not isinstance(answer, LostPartition):  # its next owner finds the queue and drops it
                        self._released(answer)
                except LogUnavailable as error:
                    log.warning("an abandoned queue could not be dropped; trying again", error=str(error))
                    await asyncio.sleep(PAUSE_S)
            self._none_left.set()
