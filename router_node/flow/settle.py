"""Settle or spill: the one place where the log learns what became of events.

An entry leaves its ingest stream only when each event of it has been let go by everything it went to; what lanes
spill, retry and bury is made durable first. Work that arrives while a write is under way forms the next write.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

import structlog

from router_client.errors import Overloaded
from router_node.delivery.lane import Lane, Taken, id_order
from router_node.delivery.window import Window
from router_node.log.insist import insist
from router_node.log.port import Entry, IngestLog, LaneLog, LaneStepped, LostPartition, Released

UNSETTLED_EVENTS = 8_000
UNSETTLED_BYTES = 64 * 1024 * 1024
STEPS_AT_ONCE = 256
FETCHES_AT_ONCE = 64
FETCH_EVENTS = 64
GATHER_ENTRIES, GATHER_S = 64, 0.025
PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Stepping(Protocol):
    """Whoever drives a lane and hears that a step of it is durable."""

    def stepped(self, lane: Lane, taken: Taken, answer: LaneStepped) -> None:
        """The step is durable."""
        ...


class Settler:
    """Writes settlements and lane steps to the log, and reads lanes' queues back; see window.Upkeep.

    ``lost`` is called with a partition found to be owned by somebody else, ``released`` with events that had to be
    stored and that the log does not hold any more.
    """

    def __init__(
        self,
        ingest: IngestLog,
        lanes: LaneLog,
        lost: Callable[[int], None],
        released: Callable[[Released], None] = lambda _: None,
    ) -> None:
        self._ingest = ingest
        self._released = released
        self._lanes = lanes
        self._lost = lost
        self._done: list[Entry] = []
        self._pumps: deque[Callable[[], None]] = deque()
        self._held: dict[int, dict[Entry, None]] = defaultdict(dict)
        self._held_events: dict[int, int] = defaultdict(int)
        self._forgotten: dict[int, int] = defaultdict(int)
        self._dirty: dict[Lane, Stepping] = {}
        self._refused: list[tuple[Lane, Stepping, Taken]] = []
        self._wanted: dict[Lane, Window] = {}
        self._work = asyncio.Event()
        self._pressing = asyncio.Event()
        self._fetch_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._round_done = asyncio.Event()
        self._rounds_begun = self._rounds_done = 0
        self.unsettled_events = self.unsettled_bytes = 0
        self.settled = self.spilled = 0

    # -- asked for by the other stages

    def hold(self, entry: Entry) -> None:
        """Count an entry just read as unsettled."""
        self._held[entry.partition][entry] = None
        self._held_events[entry.partition] += len(entry.bodies)
        self.unsettled_events += len(entry.bodies)
        self.unsettled_bytes += sum(map(len, entry.bodies))
        if self.unsettled_events >= UNSETTLED_EVENTS or self.unsettled_bytes >= UNSETTLED_BYTES:
            self._has_room.clear()

    async def room(self) -> None:
        """Wait until fewer events are unsettled in memory than the bound."""
        await self._has_room.wait()

    @property
    def has_room(self) -> bool:
        """More may be read."""
        return self._has_room.is_set()

    def held(self, partition: int) -> int:
        """Return how many unsettled events of a partition are in memory."""
        return self._held_events[partition]

    def holds_before(self, partition: int, priority: int, entry_id: bytes) -> bool:
        """Tell whether anything of a stream that came before an entry is unsettled in memory."""
        before = id_order(entry_id)
        return any(e.priority == priority and id_order(e.entry_id) < before for e in self._held[partition])

    def lag_s(self, partition: int, now_us: int) -> float:
        """Return the age of the oldest event of a partition that is unsettled in memory, 0 when there is none."""
        oldest = next(iter(self._held[partition]), None)
        return max(0.0, (now_us - oldest.accepted_at_us) / 1e6) if oldest is not None else 0.0

    def release(self, entry: Entry) -> None:
        """See Upkeep."""
        entry.outstanding -= 1
        if entry.outstanding == 0:
            self._done.append(entry)
            if len(self._done) >= GATHER_ENTRIES:
                self._pressing.set()
            self._wake()

    def make_durable(self, lane: Lane, window: Stepping) -> None:
        """See Upkeep."""
        self._dirty[lane] = window
        self._pressing.set()
        self._wake()

    def fetch(self, lane: Lane, window: Window) -> None:
        """See Upkeep."""
        self._wanted[lane] = window
        self._fetch_work.set()

    def soon(self, pump: Callable[[], None]) -> None:
        """See Upkeep."""
        if not self._pumps:
            asyncio.get_running_loop().call_soon(self.pump)
        self._pumps.append(pump)

    def pump(self) -> None:
        """Run the pumps that were to run soon."""
        try:
            for _ in range(len(self._pumps)):
                self._pumps.popleft()()
        finally:
            if self._pumps:
                asyncio.get_running_loop().call_soon(self.pump)

    async def quiet(self) -> None:
        """Wait until there is nothing to write."""
        self._pressing.set()
        await self._quiet.wait()

    async def progress(self) -> None:
        """Wait until something more is written."""
        self._pressing.set()
        self._round_done.clear()
        await self._round_done.wait()

    async def written(self) -> None:
        """Wait until what was handed in before this call is written."""
        target = self._rounds_begun + 1
        self._pressing.set()
        while self._rounds_done < target and not self._quiet.is_set():
            self._round_done.clear()
            await self._round_done.wait()

    # -- the loops

    async def run(self) -> None:
        """Write and fetch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_loop())
            tasks.create_task(self._fetch_loop())

    def _wake(self) -> None:
        self._work.set()
        self._quiet.clear()

    async def _write_loop(self) -> None:
        while True:
            await self._work.wait()
            await self._gather()
            self._work.clear()
            self._rounds_begun += 1
            await self._step()
            await self._settle()
            self._rounds_done = self._rounds_begun
            self._round_done.set()
            if not (self._work.is_set() or self._refused):
                self._quiet.set()

    async def _gather(self) -> None:
        """Wait a moment for more to settle at once, unless somebody waits for what is to be written, or it is much."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._pressing.wait()
        self._pressing.clear()

    async def _step(self) -> None:
        refused, self._refused = self._refused, []
        waiting = {lane for lane, _, _ in refused}
        dirty, self._dirty = self._dirty, {}
        taken = list(refused)
        for lane, driver in dirty.items():
            if lane in waiting:
                self._dirty[lane] = driver  # a lane's steps keep their order
            elif (step := lane.take()) is not None:
                taken.append((lane, driver, step))
        begun = {lane: self._forgotten[lane.key.partition] for lane, _, _ in taken}
        for start in range(0, len(taken), STEPS_AT_ONCE):
            await self._step_some(taken[start : start + STEPS_AT_ONCE], begun)
        if self._refused:
            log.warning("the log has no room to spill; trying again", lanes=len(self._refused))
            asyncio.get_running_loop().call_later(PAUSE_S, self._wake)
        elif self._dirty:
            self._wake()

    async def _step_some(self, taken: list[tuple[Lane, Stepping, Taken]], begun: dict[Lane, int]) -> None:
        def is_ours(lane: Lane) -> bool:
            return begun[lane] == self._forgotten[lane.key.partition]

        async def attempt() -> list[tuple[tuple[Lane, Stepping, Taken], LaneStepped | LostPartition | Overloaded]]:
            # Not under the token of a later tenure: what was forgotten since is its new owner's, even if that is us.
            still = [each for each in taken if is_ours(each[0])]
            return list(zip(still, await self._lanes.step([step.step for _, _, step in still]), strict=True))

        for (lane, driver, step), answer in await self._insist(attempt):
            if isinstance(answer, LostPartition | Overloaded) and not is_ours(lane):
                continue
            if isinstance(answer, LostPartition):
                self._lost(answer.partition)
            elif isinstance(answer, Overloaded):
                self._refused.append((lane, driver, step))
            else:
                self.spilled += len(step.spilled)
                self._released(answer.released)
                driver.stepped(lane, step, answer)

    async def _settle(self) -> None:
        done, self._done = self._done, []
        if not done:
            return
        answer = await self._insist(lambda: self._ingest.settle(done))
        for partition in answer.lost:
            self._lost(partition)
        self._released(answer.released)
        self.settled += sum(len(entry.bodies) for entry in done)
        self._let_go([entry for entry in done if entry in self._held[entry.partition]])

    def forget(self, partition: int) -> None:
        """Drop all work for a partition that is no longer ours."""
        self._forgotten[partition] += 1
        self._dirty = {lane: driver for lane, driver in self._dirty.items() if lane.key.partition != partition}
        self._refused = [refused for refused in self._refused if refused[0].key.partition != partition]
        self._done = [entry for entry in self._done if entry.partition != partition]
        self._let_go(list(self._held[partition]))

    def _let_go(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._held[entry.partition].pop(entry, None)
            self._held_events[entry.partition] -= len(entry.bodies)
            self.unsettled_events -= len(entry.bodies)
            self.unsettled_bytes -= sum(map(len, entry.bodies))
        if self.unsettled_events < UNSETTLED_EVENTS and self.unsettled_bytes < UNSETTLED_BYTES:
            self._has_room.set()

    async def _fetch_loop(self) -> None:
        while True:
            await self._fetch_work.wait()
            self._fetch_work.clear()
            while self._wanted:
                lanes = list(self._wanted)[:FETCHES_AT_ONCE]
                windows = [self._wanted.pop(lane) for lane in lanes]
                asked = [lane.begin_fetch() for lane in lanes]
                wants = [(lane.key, at[0], FETCH_EVENTS) for lane, at in zip(lanes, asked, strict=True)]
                found = await self._insist(lambda wants=wants: self._lanes.fetch(wants))  # type: ignore[misc]
                for lane, window, at, spilled in zip(lanes, windows, asked, found, strict=True):
                    window.fetched(lane, at, spilled, FETCH_EVENTS)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        return await insist(call, first_pause_s=PAUSE_S, longest_pause_s=LONGEST_PAUSE_S)
