"""Persist: the first subscriber. Every event goes to the store in batches across partitions.

While the store is away the lane ``_store`` spills like any other and routing goes on; afterwards it catches up. The
store knows events by (accepted_at, id), so writing one again changes nothing and the order of writing is of no matter.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
import structlog

from partitioning.slots import slot_of
from router_client.errors import Overloaded
from router_node.delivery.item import Head
from router_node.delivery.undeliverable import Undeliverable
from router_node.log.insist import insist
from router_node.log.port import (
    Entry,
    LaneKey,
    LaneLog,
    LaneStep,
    LogUnavailable,
    LostPartition,
    PartitionState,
    Position,
    Released,
    Spill,
    Spilled,
)
from stores.errors import StoreRejected, StoreUnavailable
from stores.ports import DeadLetter, EventStore, Outbox, Owed, StoredEvent

LANE = "_store"
BATCH_EVENTS = 1000
BATCH_BYTES = 8 * 1024 * 1024
GATHER_EVENTS, GATHER_S = 100, 0.05
PATIENCE_S = 2.0
FIRST_PROBE_S, LONGEST_PROBE_S = 0.2, 5.0

log = structlog.get_logger(__name__)


class Held(msgspec.Struct, frozen=True, gc=False):
    """An event on its way to the store, and the entry that waits for it."""

    entry: Entry
    position: Position
    event: StoredEvent


class Persister:
    """Writes what it is offered; an event's entry is released when it is stored, spilled or buried.

    What publishers wait for goes to the outbox too, and ``kept`` hears that it is there; ``released`` hears of such
    events that the log does not hold any more.
    """

    def __init__(
        self,
        store: EventStore,
        outbox: Outbox,
        lanes: LaneLog,
        release: Callable[[Entry], None],
        undeliverable: Undeliverable,
        lost: Callable[[int], None],
        kept: Callable[[list[str]], None] = lambda _: None,
        released: Callable[[Released], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._kept = kept
        self._released = released
        self._lanes = lanes
        self._release = release
        self._undeliverable = undeliverable
        self._lost = lost
        self._waiting: deque[Held] = deque()
        self._more = asyncio.Event()
        self._pressing = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._behind = asyncio.Event()
        self._spilled: dict[LaneKey, int] = {}
        self._high_water: dict[LaneKey, Position] = {}
        self.promised_until_us = 0
        self.away = False
        self.stored = self.spilled = 0

    @property
    def waiting(self) -> int:
        """Events in memory, bounded by what the node may hold unsettled."""
        return len(self._waiting)

    @property
    def behind(self) -> int:
        """Events spilled while the store was away and not stored yet."""
        return sum(self._spilled.values())

    def spilled_lanes(self) -> Iterator[tuple[int, int]]:
        """Yield the partition of each lane, and how many events are in the lane's queue."""
        return ((lane.partition, events) for lane, events in self._spilled.items())

    def offer(self, entry: Entry, position: Position, head: Head, body: bytes) -> None:
        """Take an event just read from the log."""
        if self._high_water:
            mark = self._high_water.get(LaneKey(entry.partition, LANE, entry.priority))
            if mark is not None and position <= mark:
                return
        entry.outstanding += 1
        self._waiting.append(Held(entry, position, _stored(entry.accepted_at(position), head, body)))
        self._more.set()
        self._idle.clear()
        if entry.kept or len(self._waiting) >= GATHER_EVENTS:
            self._pressing.set()

    def offer_promised(self, entry: Entry, position: Position, head: Head, body: bytes) -> None:
        """Take an event only if it was promised to be stored: by the level of its answer, or as all were when it was
        accepted, before ``promised_until_us``.
        """
        if entry.kept or entry.accepted_at_us < self.promised_until_us:
            self.offer(entry, position, head, body)

    def resume(self, partition: int, state: PartitionState) -> None:
        """Take up what an earlier owner of the partition spilled."""
        self._high_water.update({k: v for k, v in state.high_water.items() if k.subscription == LANE})
        self._spilled.update({k: n for k, n in state.queued.items() if k.subscription == LANE})
        if self._spilled:
            self._behind.set()

    def lose(self, partition: int) -> None:
        """Forget a partition that is no longer ours."""
        self._waiting = deque(held for held in self._waiting if held.entry.partition != partition)
        self._spilled = {k: n for k, n in self._spilled.items() if k.partition != partition}
        self._high_water = {k: v for k, v in self._high_water.items() if k.partition != partition}

    async def idle(self) -> None:
        """Wait until nothing in memory waits for the store."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write, and catch up, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_loop())
            tasks.create_task(self._catch_up_loop())

    # -- what comes in

    async def _write_loop(self) -> None:
        while True:
            await self._more.wait()
            await self._gather()
            batch = self._next_batch()
            if not self._waiting:
                self._more.clear()
                self._pressing.clear()
            unsaved = batch if self.away else await self._save(batch)
            if unsaved:
                await self._spill(unsaved)
            if not self._waiting:
                self._idle.set()

    async def _gather(self) -> None:
        """Wait a moment for more to write at once, unless a publisher waits for it or there is enough already.

        A statement with one row costs PostgreSQL and this node ten times what a row more in it does.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._pressing.wait()

    async def _save(self, batch: list[Held]) -> list[Held]:
        """Save and release a batch, splitting it around events the store refuses; returns what could not be saved."""
        parts = [batch]
        while parts:
            part = parts.pop()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    owed = [_owed(held.position, held.event) for held in part if held.entry.kept]
                    await self._write([held.event for held in part], owed)
            except StoreRejected as error:
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    self._refused(part[0], str(error))
            except (StoreUnavailable, TimeoutError) as error:
                self._went_away(error)
                return [held for left in (part, *parts) for held in left]
            else:
                self.stored += len(part)
                for held in part:
                    self._release(held.entry)
        return []

    async def _write(self, events: Sequence[StoredEvent], owed: Sequence[Owed]) -> None:
        if not owed:
            await self._store.save(events)
            return
        await self._outbox.save(events, owed)
        self._kept([each.event.id for each in owed])

    def _refused(self, held: Held, error: str) -> None:
        log.error("the store refuses an event; it goes to the dead letters", id=held.event.id, error=error)
        lane = LaneKey(held.entry.partition, LANE, held.entry.priority)
        self._undeliverable.bury(held.entry, [self._letter(lane, held.position, held.event, error)])
        self._release(held.entry)

    def _letter(self, lane: LaneKey, position: Position, event: StoredEvent, error: str) -> DeadLetter:
        return self._undeliverable.letter(
            lane,
            position,
            event.accepted_at_us,
            event.body,
            "store_refused",
            error,
            event_id=event.id,
            topic=event.type,
        )

    async def _spill(self, batch: Sequence[Held]) -> None:
        by_lane: dict[LaneKey, list[Held]] = defaultdict(list)
        for held in batch:
            by_lane[LaneKey(held.entry.partition, LANE, held.entry.priority)].append(held)
        steps = [LaneStep(key, spill=[_spill(held) for held in part]) for key, part in by_lane.items()]
        answers = await insist(
            lambda: self._lanes.step(steps), first_pause_s=FIRST_PROBE_S, longest_pause_s=LONGEST_PROBE_S
        )
        kept: list[Held] = []
        for (key, part), answer in zip(by_lane.items(), answers, strict=True):
            if isinstance(answer, Overloaded):
                kept += part
                continue
            if isinstance(answer, LostPartition):
                self._lost(key.partition)
            else:
                self._spilled[key] = answer.queued
            self.spilled += len(part)
            for held in part:
                self._release(held.entry)
        self._behind.set()
        if kept:
            log.warning("neither the store nor the log has room for events; trying again", events=len(kept))
            self._waiting.extendleft(reversed(kept))
            await asyncio.sleep(FIRST_PROBE_S)

    def _next_batch(self) -> list[Held]:
        batch: list[Held] = []
        size = 0
        while self._waiting and len(batch) < BATCH_EVENTS and size < BATCH_BYTES:
            held = self._waiting.popleft()
            batch.append(held)
            size += len(held.event.body)
        return batch

    def _went_away(self, error: BaseException) -> None:
        log.warning("the store is away; events are kept in the log until it is back", error=str(error) or "time-out")
        self.away = True
        self._behind.set()

    # -- catching up

    async def _catch_up_loop(self) -> None:
        pause = FIRST_PROBE_S
        while True:
            await self._behind.wait()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._store.ping()
                if self.away:
                    log.info("the store is back", behind=self.behind)
                self.away = False
                await self._drain()
                if not self._spilled and not self.away:
                    self._behind.clear()
                pause = FIRST_PROBE_S
            except (StoreUnavailable, TimeoutError):
                self.away = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PROBE_S)
            except LogUnavailable as error:
                log.warning("the log does not answer; catching up later", error=str(error))
                await asyncio.sleep(LONGEST_PROBE_S)

    async def _drain(self) -> None:
        for key in list(self._spilled):
            while self._spilled.get(key, 0) > 0:
                (found,) = await self._lanes.fetch([(key, b"0", BATCH_EVENTS)])
                dead = await self._save_spilled(key, found)
                step = LaneStep(key, dead=dead, remove=[s.queue_id for s in found])
                (answer,) = await self._lanes.step([step])
                if isinstance(answer, LostPartition):
                    self._lost(key.partition)
                    break
                if isinstance(answer, Overloaded):
                    raise LogUnavailable(answer.detail)
                self._released(answer.released)
                self.stored += len(found) - len(dead)
                self._spilled[key] = answer.queued
            if self._spilled.get(key) == 0:
                del self._spilled[key]

    async def _save_spilled(self, key: LaneKey, found: Sequence[Spilled]) -> list[DeadLetter]:
        """Save what was spilled; returns letters for the events the store refuses."""
        dead: list[DeadLetter] = []
        parts = [found]
        while parts:
            part = parts.pop()
            events = [_stored(s.accepted_at_us, Head.of(s.body), s.body) for s in part]
            try:
                await self._write(
                    events, [_owed(s.position, event) for event, s in zip(events, part, strict=True) if s.kept]
                )
            except StoreRejected as error:
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    log.error("the store refuses an event that was spilled", id=events[0].id, error=str(error))
                    dead.append(self._letter(key, part[0].position, events[0], str(error)))
        return dead


def _owed(position: Position, event: StoredEvent) -> Owed:
    return Owed(slot_of(event.correlation_id), *position, event)


def _spill(held: Held) -> Spill:
    return Spill(held.position, held.event.accepted_at_us, held.event.body, held.entry.kept_id(held.position))


def _stored(accepted_at_us: int, head: Head, body: bytes) -> StoredEvent:
    return StoredEvent(accepted_at_us, head.event_id, head.topic, head.source, head.correlation_id, head.priority, body)
