"""A node's life in the cluster: it says that it lives, learns who does, and follows the placement that results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog

from partitioning.errors import RedisUnavailable
from partitioning.membership import Membership, NameTaken, Roster
from partitioning.placement import place
from router_client.errors import Unavailable
from router_node.cluster.ownership import Ownership, Work

BEATS_IN_A_LEASE = 6
RENEWALS_IN_A_LEASE = 3
MISSING_S = 0.1
LEAVE_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seams:
    """What presence needs to know and whom it tells.

    ``details`` is what operators see of this node, ``partitions`` the number there are; ``looked`` is awaited each
    round after Redis answered, before partitions are taken; ``met`` hears each new roster.
    """

    details: Callable[[], dict[str, Any]]
    partitions: Callable[[], int]
    looked: Callable[[], Awaitable[None]]
    met: Callable[[Roster], None]
    notify: Callable[[], None]


class Presence:
    """Runs the rounds: heartbeat, placement, leases. ``roster`` and ``placement`` are as of the last one."""

    def __init__(self, membership: Membership, ownership: Ownership, lease_ms: int, seams: Seams) -> None:
        self._membership = membership
        self._ownership = ownership
        self._lease_s = lease_ms / 1000
        self._seams = seams
        self._stirred = asyncio.Event()
        self._renewed_at = 0.0
        self._heard_at = time.monotonic()
        self._handing_over: set[asyncio.Task[None]] = set()
        self.roster = Roster()
        self.placement: dict[int, str] = {}
        self.stopping = False
        self.failed_rounds = 0

    @property
    def silent_s(self) -> float:
        """Seconds since Redis last answered."""
        return time.monotonic() - self._heard_at

    def live(self) -> int:
        """Return how many nodes live, as of the last round; at least this one."""
        return max(1, len(self.roster.members))

    @property
    def cut_off(self) -> bool:
        """Redis has not answered for longer than a lease: this node owns nothing and can promise nothing."""
        return self.silent_s > self._lease_s

    def stir(self) -> None:
        """Have the next round now: something changed."""
        self._stirred.set()

    async def join(self) -> None:
        """Become a member. Raises NameTaken once another node of this name has had time to be forgotten."""
        give_up_at = time.monotonic() + self._lease_s + 1.0
        while True:
            try:
                self._meet(await self._membership.beat(self._seams.details()))
            except NameTaken:
                if time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(self._lease_s / BEATS_IN_A_LEASE)
            else:
                self._seams.notify()
                return

    async def run(self, work: Work) -> None:
        """Go round until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._stirred.clear()
                try:
                    async with asyncio.timeout(self._lease_s / 2):
                        await self._round(work, tasks)
                except (RedisUnavailable, Unavailable, NameTaken, TimeoutError) as error:
                    self._failed(error, work)
                await self._pause()

    async def leave(self, work: Work) -> None:
        """Hand everything over and be no member any more; bounded, and what fails runs out by itself."""
        self.stopping = True
        self._ownership.wanted = frozenset()
        try:
            async with asyncio.timeout(LEAVE_S):
                self._meet(await self._membership.beat(self._seams.details()))
                self._seams.notify()
                if self._handing_over:
                    await asyncio.wait(self._handing_over)
                await self._ownership.hand_over(self._ownership.unwanted(), work)
                await self._membership.leave()
                self._seams.notify()
        except (RedisUnavailable, NameTaken, TimeoutError) as error:
            log.warning("left without a word; leases run out by themselves", error=str(error) or "time-out")

    async def _round(self, work: Work, tasks: asyncio.TaskGroup) -> None:
        asked_at = time.monotonic()
        if asked_at - self._renewed_at >= self._lease_s / RENEWALS_IN_A_LEASE:
            await self._ownership.keep(work)
            self._renewed_at = asked_at
        self._meet(await self._membership.beat(self._seams.details()))
        self._heard_at = asked_at
        await self._seams.looked()
        self.follow()
        unwanted = self._ownership.unwanted()
        if unwanted:
            task = tasks.create_task(self._ownership.hand_over(unwanted, work), name="hand-over")
            self._handing_over.add(task)
            task.add_done_callback(self._handing_over.discard)
        await self._ownership.take(work)

    def follow(self) -> None:
        """Work out the placement anew from what is known."""
        self.placement = _placement(self._seams.partitions(), tuple(self.roster.placed()))
        mine = () if self.stopping else (p for p, node in self.placement.items() if node == self._membership.node_id)
        self._ownership.wanted = frozenset(mine)

    def _meet(self, roster: Roster) -> None:
        if roster.members.keys() != self.roster.members.keys():
            log.info("members", nodes=sorted(roster.members))
        self.roster = roster
        self._seams.met(roster)

    def _failed(self, error: BaseException, work: Work) -> None:
        self.failed_rounds += 1
        log.warning("partitions cannot be kept or taken up now; trying again", error=str(error) or "time-out")
        if self._ownership.gave_out(work):
            self._renewed_at = 0.0

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._pause_s()):
                await self._stirred.wait()
        except TimeoutError:
            return

    def _pause_s(self) -> float:
        beat_s = self._lease_s / BEATS_IN_A_LEASE
        if not self._ownership.complete or self._ownership.waiting:
            return min(MISSING_S, beat_s)
        others = (m.silent_ms for node, m in self.roster.members.items() if node != self._membership.node_id)
        until_silent_s = self._lease_s - max(others, default=0) / 1000 + 0.01
        return min(beat_s, max(until_silent_s, 0.02))


@lru_cache(maxsize=16)
def _placement(partitions: int, members: tuple[str, ...]) -> dict[int, str]:
    return place(partitions, members)
