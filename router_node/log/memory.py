"""The log of one process: the same contract as on Redis, nothing kept over a restart (the store keeps every event)."""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from itertools import islice

from router_client.errors import InvalidInput, Overloaded
from router_node.log.memory_queue import MemoryQueue
from router_node.log.port import (
    MAX_BATCH_EVENTS,
    Answer,
    Begun,
    Due,
    Entry,
    Follower,
    LaneKey,
    LaneStep,
    LaneStepped,
    LostPartition,
    NewRecord,
    Nobody,
    PartitionState,
    Position,
    Released,
    RetryState,
    Settled,
    Spill,
    Spilled,
)
from stores.ports import DeadLetterSink

SPILLED_AT_MOST = 500_000


class MemoryLog:
    """IngestLog, DurableLanes and Generations in dictionaries; its one process owns every partition: nothing is fenced.

    ``backlog_limit`` bounds unsettled events per partition; ``dedup_window_s`` and ``dedup_ids`` bound, in time and
    number per partition, the ids remembered for deduplication. Beyond ``SPILLED_AT_MOST`` events in lanes' queues,
    publishes are refused.
    """

    def __init__(
        self,
        dead_letters: DeadLetterSink,
        *,
        backlog_limit: int = 100_000,
        dedup_window_s: float = 120.0,
        dedup_ids: int = 100_000,
    ) -> None:
        self.follower: Follower = Nobody()
        self._dead_letters = dead_letters
        self._backlog_limit = backlog_limit
        self._window_us = int(dedup_window_s * 1e6)
        self._max_ids = dedup_ids
        self._generation = time.time_ns() // 1_000_000
        self._next = 0
        self._spilled = 0
        self._sequence: dict[int, int] = defaultdict(int)
        self._last_at: dict[int, int] = defaultdict(int)
        self._unsettled: dict[int, int] = defaultdict(int)
        self._ids: dict[int, OrderedDict[str, int]] = defaultdict(OrderedDict)
        self._fresh: dict[tuple[int, int], OrderedDict[bytes, Entry]] = defaultdict(OrderedDict)
        self._pending: dict[tuple[int, int], OrderedDict[bytes, Entry]] = defaultdict(OrderedDict)
        self._queues: dict[LaneKey, MemoryQueue] = defaultdict(MemoryQueue)
        self._retries: dict[LaneKey, dict[bytes, RetryState]] = defaultdict(dict)
        self._high_water: dict[LaneKey, Position] = {}
        self._due: dict[int, list[tuple[int, bytes, LaneKey]]] = defaultdict(list)
        self._outbox: dict[tuple[int, str], int] = {}
        self._fed: dict[int, bool] = defaultdict(bool)

    async def append_replicated(self, records: Sequence[NewRecord]) -> list[Answer]:
        """Raise InvalidInput: a log in memory has no replicas."""
        del records
        raise InvalidInput("an embedded node has no replicas; use accepted or stored", field="ack")

    async def append(self, records: Sequence[NewRecord]) -> list[Answer]:
        """See IngestLog."""
        now = await self.now_us()
        answers: list[Answer] = []
        batches: dict[tuple[int, int, bool], list[NewRecord]] = defaultdict(list)
        priorities: dict[int, int] = {}
        for record in records:
            if self._spilled >= SPILLED_AT_MOST:
                answers.append(Overloaded("too many events wait for subscriptions that nobody consumes"))
                continue
            if self._unsettled[record.partition] >= self._backlog_limit:
                answers.append(Overloaded(f"partition {record.partition} has its full backlog"))
                continue
            dedup_id = record.kept or record.dedup_id
            duplicate = dedup_id is not None and self._seen(record.partition, dedup_id, now)
            answers.append(duplicate)
            if not duplicate:
                self._unsettled[record.partition] += 1
                if priorities.setdefault(record.slot, record.priority) != record.priority:
                    self._commit(batches, now)  # a key has a single priority in each batch: they are numbered in order
                    batches.clear()
                    priorities = {record.slot: record.priority}
                batches[record.partition, record.priority, record.kept != ""].append(record)
        self._commit(batches, now)
        return answers

    def _commit(self, batches: dict[tuple[int, int, bool], list[NewRecord]], now: int) -> None:
        for (partition, priority, _), batch in batches.items():
            for start in range(0, len(batch), MAX_BATCH_EVENTS):
                part = batch[start : start + MAX_BATCH_EVENTS]
                kept = [record.kept for record in part if record.kept]
                at = max(now, self._last_at[partition] + 1)
                self._last_at[partition] = at + len(part) - 1
                self._add(partition, priority, at, [record.body for record in part], kept)
            self.follower.rang(partition, priority)

    async def read(self, sources: Sequence[tuple[int, int]], count: int) -> list[Entry]:
        """See IngestLog."""
        entries: list[Entry] = []
        for source in sources:
            fresh, pending = self._fresh[source], self._pending[source]
            for _ in range(min(count, len(fresh))):
                entry_id, entry = fresh.popitem(last=False)
                pending[entry_id] = entry
                entries.append(entry)
        return entries

    async def read_pending(self, sources: Sequence[tuple[int, int, bytes]], count: int) -> list[Entry]:
        """See IngestLog."""
        entries: list[Entry] = []
        for partition, priority, after in sources:
            pending = self._pending[partition, priority]
            entries.extend(islice((entry for entry_id, entry in pending.items() if entry_id > after), count))
        return entries

    async def settle(self, entries: Sequence[Entry]) -> Settled:
        """See IngestLog."""
        released: Released = []
        for entry in entries:
            if self._pending[entry.partition, entry.priority].pop(entry.entry_id, None) is not None:
                self._unsettled[entry.partition] -= len(entry.bodies)
                for n, event_id in enumerate(entry.kept):
                    released += self._let_go(entry.accepted_at_us + n, event_id)
        return Settled([], released)

    async def begin(self, partition: int) -> Begun | LostPartition:
        """See Generations: each start is a new generation, as nothing of the last one is here."""
        return Begun(self._generation, not self._fed[partition])

    async def feed(self, partition: int, events: Sequence[tuple[int, Spill]]) -> int | LostPartition:
        """See Generations."""
        fed = 0
        for priority, event in events:
            key = (event.accepted_at_us, event.kept)
            if key not in self._outbox:
                self._unsettled[partition] += 1
                self._add(partition, priority, event.accepted_at_us, [event.body], [event.kept])
                fed += 1
        return fed

    async def open(self, partition: int, generation: int) -> LostPartition | None:
        """See Generations."""
        self._fed[partition] = True
        return None

    async def backlog(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        """See IngestLog."""
        return {
            p: {level: len(self._fresh[p, level]) + len(self._pending[p, level]) for level in range(10)}
            for p in partitions
        }

    async def unsettled(self, partitions: Sequence[int]) -> dict[int, int]:
        """See IngestLog."""
        return {p: self._unsettled[p] for p in partitions}

    async def oldest(self, partitions: Sequence[int]) -> int | None:
        """See IngestLog."""
        streams = [kept[p, level] for kept in (self._fresh, self._pending) for p in partitions for level in range(10)]
        return min((next(iter(stream.values())).accepted_at_us for stream in streams if stream), default=None)

    async def now_us(self) -> int:
        """See IngestLog."""
        return time.time_ns() // 1000

    async def load(self, partition: int) -> PartitionState:
        """See LaneLog."""
        return PartitionState(
            queued={lane: len(q) for lane, q in self._queues.items() if lane.partition == partition and q},
            retries={lane: dict(r) for lane, r in self._retries.items() if lane.partition == partition and r},
            high_water={lane: at for lane, at in self._high_water.items() if lane.partition == partition},
        )

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        """See LaneLog."""
        answers: list[LaneStepped | LostPartition | Overloaded] = []
        for step in steps:
            queue = self._queues[step.lane]
            ids = []
            for spill in step.spill:
                queue_id = self._new_id()
                queue.add(Spilled(queue_id, *spill[:4]))
                ids.append(queue_id)
                if spill.due_us:
                    heapq.heappush(self._due[step.lane.partition], (spill.due_us, queue_id, step.lane))
                if spill.kept:
                    key = (spill.accepted_at_us, spill.kept)
                    self._outbox[key] = self._outbox.get(key, 0) + 1
                if spill.position > self._high_water.get(step.lane, Position(0, 0)):
                    self._high_water[step.lane] = spill.position
            self._spilled += len(ids)
            self._retries[step.lane].update(step.retry)
            if step.dead:
                await self._dead_letters.add(step.dead)
            released: Released = []
            for queue_id in step.remove:
                removed = queue.pop(queue_id)
                self._spilled -= removed is not None
                self._retries[step.lane].pop(queue_id, None)
                if removed is not None and removed.kept:
                    released += self._let_go(removed.accepted_at_us, removed.kept)
            answers.append(LaneStepped(ids, len(queue), released))
        return answers

    async def due(self, partition: int, limit: int) -> Due | LostPartition:
        """See Schedule."""
        due, moved = self._due[partition], list[int]()
        now = await self.now_us()
        while due and due[0][0] <= now and len(moved) < limit:
            _, queue_id, lane = heapq.heappop(due)
            event = self._queues[lane].pop(queue_id)
            if event is not None:
                self._spilled -= 1
                self._unsettled[partition] += 1
                kept = [event.kept] if event.kept else []
                self._enter(partition, lane.priority, event.accepted_at_us, [event.body], kept)
                moved.append(lane.priority)
        return Due(moved, due[0][0] if due else None)

    async def fetch(self, wants: Sequence[tuple[LaneKey, bytes, int]]) -> list[list[Spilled]]:
        """See LaneLog."""
        return [self._queues[lane].after(after, count) if lane in self._queues else [] for lane, after, count in wants]

    async def discard(self, lane: LaneKey) -> Released | LostPartition:
        """See LaneLog."""
        self._retries.pop(lane, None)
        self._high_water.pop(lane, None)
        gone = self._queues.pop(lane, MemoryQueue())
        self._spilled -= len(gone)
        return [key for each in gone if each.kept for key in self._let_go(each.accepted_at_us, each.kept)]

    def _let_go(self, accepted_at_us: int, event_id: str) -> Released:
        """Count one place less that holds an event which had to be stored; return it with the last."""
        key = (accepted_at_us, event_id)
        self._outbox[key] = self._outbox.get(key, 1) - 1
        if self._outbox[key] > 0:
            return []
        del self._outbox[key]
        return [key]

    def _seen(self, partition: int, dedup_id: str, now_us: int) -> bool:
        ids = self._ids[partition]
        while ids and (next(iter(ids.values())) < now_us - self._window_us or len(ids) > self._max_ids):
            ids.popitem(last=False)
        if dedup_id in ids:
            return True
        ids[dedup_id] = now_us
        return False

    def _add(self, partition: int, priority: int, at: int, bodies: list[bytes], kept: list[str]) -> None:
        self._enter(partition, priority, at, bodies, kept)
        self._outbox.update({(at + n, event_id): 1 for n, event_id in enumerate(kept)})

    def _enter(self, partition: int, priority: int, at: int, bodies: list[bytes], kept: list[str]) -> None:
        first = Position(self._generation, self._sequence[partition] + 1)
        self._sequence[partition] += len(bodies)
        entry_id = self._new_id()
        self._fresh[partition, priority][entry_id] = Entry(partition, priority, entry_id, first, at, bodies, kept=kept)

    def _new_id(self) -> bytes:
        self._next += 1
        return b"%020d" % self._next
