"""The log that the nodes of a model test share, and one node's way to it: fenced, slow, full or deaf when told so."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from router_client.errors import Overloaded
from router_node.log.memory import MemoryLog
from router_node.log.port import (
    ALL_PRIORITIES,
    Begun,
    Due,
    Entry,
    Follower,
    LaneKey,
    LaneStep,
    LaneStepped,
    LogUnavailable,
    LostPartition,
    NewRecord,
    Nobody,
    Position,
    Released,
    Settled,
    Spill,
    Spilled,
)
from stores.ports import DeadLetterSink
from tests.support.clock import FakeClock

Call = Literal["read", "settle", "step", "fetch"]
Way = Literal["there", "back"]
Doorbell = Literal["rings", "brings", "is lost"]

T = TypeVar("T")


class SharedLog(MemoryLog):
    """The memory log on a clock moved by hand, with one owner at a time and no room for spills while ``full``."""

    def __init__(self, dead_letters: DeadLetterSink, clock: FakeClock) -> None:
        super().__init__(dead_letters)
        self._clock = clock
        self.owner = 0
        self.full = False
        self.doorbell: Doorbell = "rings"

    async def now_us(self) -> int:
        return self._clock.log_us()

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        return [
            Overloaded("full") if self.full and step.spill else (await super(SharedLog, self).step([step]))[0]
            for step in steps
        ]

    async def settle(self, entries: Sequence[Entry]) -> Settled:
        for entry in entries:  # one that was brought has not been read
            source = entry.partition, entry.priority
            if (fresh := self._fresh[source].pop(entry.entry_id, None)) is not None:
                self._pending[source][entry.entry_id] = fresh
        return await super().settle(entries)

    def streams(self) -> dict[tuple[int, int], list[Entry]]:
        """Return the entries of each stream."""
        found: dict[tuple[int, int], list[Entry]] = defaultdict(list)
        for kept in (self._pending, self._fresh):
            for source, stream in kept.items():
                found[source] += stream.values()
        return {source: sorted(stream, key=lambda entry: entry.entry_id) for source, stream in found.items()}

    def recoverable(self, subscription: str) -> set[bytes]:
        """Return the events that a new owner would still deliver: those in queues, and in streams but not below the
        high-water mark of their lane.
        """
        found = {s.body for lane, queue in self._queues.items() if lane[1] == subscription for s in queue}
        for entry in self._entries():
            generation, first = entry.first
            for offset, body in enumerate(entry.bodies):
                mark = max(self._mark(entry, subscription, priority) for priority in (entry.priority, ALL_PRIORITIES))
                if Position(generation, first + offset) > mark:
                    found.add(body)
        return found

    def left(self) -> list[object]:
        """Return whatever is in streams, queues and retries."""
        retries = [state for lane in self._retries.values() for state in lane.values()]
        return [*self._entries(), *(s for queue in self._queues.values() for s in queue), *retries]

    def _mark(self, entry: Entry, subscription: str, priority: int) -> Position:
        return self._high_water.get(LaneKey(entry.partition, subscription, priority), Position(0, 0))

    def _entries(self) -> Iterator[Entry]:
        for streams in (self._fresh, self._pending):
            for stream in streams.values():
                yield from stream.values()


class NodeLog:
    """IngestLog, LaneLog and Generations as one node has them.

    Calls can be held on their way there or back, and answers can get lost. A call is made under the token that was in
    force when it began, so that one held over a change of owner is refused when it gets there.
    """

    def __init__(self, shared: SharedLog, token: int) -> None:
        self._shared = shared
        self.token = token
        self.follower: Follower = Nobody()
        self._gates: dict[tuple[Call, Way], asyncio.Event] = {}
        self._deaf: set[Call] = set()
        self.entries: list[Entry] = []

    # -- the faults

    @property
    def hindered(self) -> bool:
        """What the node writes now may not be done, or not be known to be done."""
        return bool(self._gates or self._deaf or self._shared.full or self.token != self._shared.owner)

    def hold(self, call: Call, way: Way) -> None:
        """Hold calls of this kind, on this way, until :meth:`let_through`."""
        self._gates.setdefault((call, way), asyncio.Event())

    def let_through(self) -> None:
        """End every hold."""
        gates, self._gates = self._gates, {}
        for gate in gates.values():
            gate.set()

    def lose_answer(self, call: Call) -> None:
        """Do what the next call of this kind asks, and let nobody know."""
        self._deaf.add(call)

    def hear_again(self) -> None:
        """Lose no more answers."""
        self._deaf.clear()

    async def _made(self, call: Call, ask: Callable[[], Awaitable[T]], refused: Callable[[], T]) -> T:
        token = self.token
        await self._pass(call, "there")
        answer = await ask() if token == self._shared.owner else refused()
        await self._pass(call, "back")
        if call in self._deaf:
            self._deaf.discard(call)
            raise LogUnavailable("the answer was lost")
        return answer

    async def _pass(self, call: Call, way: Way) -> None:
        gate = self._gates.get((call, way))
        if gate is not None:
            await gate.wait()

    def _handed_out(self, entries: Sequence[Entry]) -> list[Entry]:
        mine = [replace(entry, outstanding=0) for entry in entries]
        self.entries += mine
        return mine

    # -- the ports

    async def append(self, records: Sequence[NewRecord]) -> list[object]:
        before = {source: [entry.entry_id for entry in stream] for source, stream in self._shared.streams().items()}
        answers = list(await self._shared.append(records))
        for source, stream in self._shared.streams().items():
            known = before.get(source, [])
            self._announce([entry for entry in stream if entry.entry_id not in known], known[-1] if known else b"0")
        return answers

    def _announce(self, entries: Sequence[Entry], before: bytes) -> None:
        for entry in entries:
            if self._shared.doorbell == "brings" and self.token == self._shared.owner:
                self.follower.brought(self._handed_out([entry])[0], before)
            elif self._shared.doorbell != "is lost":
                self.follower.rang(entry.partition, entry.priority)
            before = entry.entry_id
        self.follower.all_brought()

    async def read(self, sources: Sequence[tuple[int, int]], count: int) -> list[Entry]:
        return self._handed_out(await self._made("read", lambda: self._shared.read(sources, count), list))

    async def read_pending(self, sources: Sequence[tuple[int, int, bytes]], count: int) -> list[Entry]:
        return self._handed_out(await self._made("read", lambda: self._shared.read_pending(sources, count), list))

    async def settle(self, entries: Sequence[Entry]) -> Settled:
        lost = sorted({entry.partition for entry in entries})
        return await self._made("settle", lambda: self._shared.settle(entries), lambda: Settled(lost, []))

    async def backlog(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        return await self._shared.backlog(partitions)

    async def unsettled(self, partitions: Sequence[int]) -> dict[int, int]:
        return await self._shared.unsettled(partitions)

    async def now_us(self) -> int:
        return await self._shared.now_us()

    async def load(self, partition: int) -> object:
        return await self._shared.load(partition)

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        lost: list[LaneStepped | LostPartition | Overloaded] = [LostPartition(step.lane.partition) for step in steps]
        return await self._made("step", lambda: self._shared.step(steps), lambda: lost)

    async def due(self, partition: int, limit: int) -> Due | LostPartition:
        return await self._shared.due(partition, limit)

    async def fetch(self, wants: Sequence[tuple[LaneKey, bytes, int]]) -> list[list[Spilled]]:
        return await self._made("fetch", lambda: self._shared.fetch(wants), lambda: [[] for _ in wants])

    async def discard(self, lane: LaneKey) -> Released | LostPartition:
        return await self._shared.discard(lane)

    async def begin(self, partition: int) -> Begun | LostPartition:
        return await self._shared.begin(partition)

    async def feed(self, partition: int, events: Sequence[tuple[int, Spill]]) -> int | LostPartition:
        return await self._shared.feed(partition, events)

    async def open(self, partition: int, generation: int) -> LostPartition | None:
        return await self._shared.open(partition, generation)
