"""Replay: stored events delivered again to one subscription, and to nobody else.

A replay is a job in the store. One node runs all that run, and notes how far each is as it goes: when the node goes,
the next one goes on from there, and repeats a page at most. Each event is handed to the owner of its partition, which
queues it behind what the subscription's lane holds.
"""

from __future__ import annotations

import asyncio

import structlog

from router_node.replay_run import Means, ReplayRun
from stores.errors import StoreError
from stores.ports import Replay

LOOK_S = 2.0
RUNNING_AT_MOST = 20
KEPT_DAYS = 30
DAY_US = 86_400 * 1_000_000
FORGET_S = 3600.0

log = structlog.get_logger(__name__)


class Replaying:
    """Runs the cluster's replays while it is this node's turn to."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._stirred = asyncio.Event()
        self._forget_at = means.clock.monotonic()
        self.replayed = 0

    def stir(self) -> None:
        """Look at once: a replay was begun, or ended."""
        self._stirred.set()

    async def run(self) -> None:
        """Run what is to be run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            under_way: dict[str, asyncio.Task[None]] = {}
            while True:
                self._stirred.clear()
                under_way = {each: task for each, task in under_way.items() if not task.done()}
                wanted = await self._wanted()
                if wanted is not None:
                    for replay in wanted[:RUNNING_AT_MOST]:
                        if replay.id not in under_way:
                            run = ReplayRun(replay, self._means, self._handed).run()
                            under_way[replay.id] = tasks.create_task(run, name=f"replay {replay.id}")
                    for gone in under_way.keys() - {replay.id for replay in wanted}:
                        under_way[gone].cancel()
                await self._wait()

    async def _wanted(self) -> list[Replay] | None:
        """Return the replays to be run here; None when that cannot be looked up, and what runs goes on."""
        if not self._means.mine():
            return []
        try:
            await self._forget()
            return await self._means.replays.running()
        except (StoreError, TimeoutError) as error:
            log.warning("replays cannot be looked up; trying again", error=str(error))
            return None

    async def _forget(self) -> None:
        clock = self._means.clock
        if clock.monotonic() >= self._forget_at:
            await self._means.replays.forget(clock.log_us() - KEPT_DAYS * DAY_US)
            self._forget_at = clock.monotonic() + FORGET_S

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._stirred.wait()
        except TimeoutError:
            pass

    def _handed(self, events: int) -> None:
        self.replayed += events
