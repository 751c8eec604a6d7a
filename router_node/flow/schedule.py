"""Schedule: an event with a ``deliver_at`` to come is stored at once, and routed when its time has come.

It waits in the log, in the router's own lanes, indexed by time; the owner of its partition puts it back into its stream
when it is due, and from there it goes the way of every event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from router_node.clock import Clock
from router_node.delivery.item import Head, Item
from router_node.delivery.lane import Lane, Taken
from router_node.log.port import (
    SCHEDULE,
    Entry,
    LaneKey,
    LaneStepped,
    LogUnavailable,
    LostPartition,
    PartitionState,
    Position,
    Schedule,
)

SLACK_US = 50_000
"""An event due so soon is routed now; without it, one put back by Redis's clock could be scheduled again by ours."""
AT_ONCE = 200
LOOK_AGAIN_S = 30.0
PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class Steps(Protocol):
    """The settle stage, as this one needs it."""

    def release(self, entry: Entry) -> None:
        """One event of ``entry`` is settled."""
        ...

    def make_durable(self, lane: Lane, window: Scheduler) -> None:
        """The lane has something for the log."""
        ...


class Scheduler:
    """Knows when each owned partition has something due; ``ring`` says that a stream has something."""

    def __init__(
        self,
        schedule: Schedule,
        steps: Steps,
        clock: Clock,
        ring: Callable[[int, int], None],
        lost: Callable[[int], None],
    ) -> None:
        self._schedule = schedule
        self._steps = steps
        self._clock = clock
        self._ring = ring
        self._lost = lost
        self._high_water: dict[LaneKey, Position] = {}
        self._next_us: dict[int, int] = {}
        self._sooner = asyncio.Event()
        self.scheduled = self.became_due = 0

    def defer(self, entry: Entry, position: Position, body: bytes, head: Head) -> bool:
        """Keep an event for later; False when its time has come. Its entry is held until that is durable."""
        if head.deliver_us <= self._clock.log_us() + SLACK_US:
            return False
        key = LaneKey(entry.partition, SCHEDULE, entry.priority)
        if position <= self._high_water.get(key, Position(0, 0)):
            return True  # an earlier owner has it in the schedule already
        lane = Lane(key)
        lane.spilling = True
        item = Item(lane, position, entry.accepted_at(position), body, head, 0.0, keyed=False)
        item.entry, item.kept, item.due_us = entry, entry.kept_id(position), head.deliver_us
        entry.outstanding += 1
        lane.unsaved.append(item)
        self.scheduled += 1
        self._steps.make_durable(lane, self)
        return True

    def stepped(self, lane: Lane, taken: Taken, answer: LaneStepped) -> None:
        """Events are in the schedule."""
        for item in taken.spilled:
            if item.entry is not None:
                self._steps.release(item.entry)
            self._expect(lane.key.partition, item.due_us)

    def resume(self, partition: int, state: PartitionState) -> None:
        """Take up the schedule of a partition that this node has come to own."""
        for key, mark in state.high_water.items():
            if key.subscription == SCHEDULE:
                self._high_water[key] = mark
        if any(key.subscription == SCHEDULE for key in state.queued):
            self._expect(partition, 0)

    def lose(self, partition: int) -> None:
        """Forget a partition; its next owner has its schedule."""
        self._next_us.pop(partition, None)
        self._high_water = {key: mark for key, mark in self._high_water.items() if key.partition != partition}

    async def run(self) -> None:
        """Put back what is due until cancelled."""
        while True:
            await self._wait()
            now_us = self._clock.log_us()
            for partition in [p for p, next_us in self._next_us.items() if next_us <= now_us]:
                try:
                    await self._put_back(partition)
                except LogUnavailable as error:
                    log.warning("the schedule cannot be read; trying again", partition=partition, error=str(error))
                    await asyncio.sleep(PAUSE_S)

    async def _wait(self) -> None:
        self._sooner.clear()
        ahead_s = (min(self._next_us.values(), default=2**62) - self._clock.log_us()) / 1e6
        try:
            async with asyncio.timeout(min(max(ahead_s, 0.0), LOOK_AGAIN_S)):
                await self._sooner.wait()
        except TimeoutError:
            pass

    async def _put_back(self, partition: int) -> None:
        if self._next_us.pop(partition, None) is None:
            return  # lost meanwhile
        try:
            due = await self._schedule.due(partition, AT_ONCE)
        except LogUnavailable:
            self._expect(partition, 0)
            raise
        if isinstance(due, LostPartition):
            self._lost(partition)
            return
        self.became_due += len(due.priorities)
        for priority in set(due.priorities):
            self._ring(partition, priority)
        if due.next_us is not None:
            self._expect(partition, due.next_us)

    def _expect(self, partition: int, due_us: int) -> None:
        if due_us < self._next_us.get(partition, 2**62):
            self._next_us[partition] = due_us
            self._sooner.set()
