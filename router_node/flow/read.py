"""Read: the owner of a partition takes its record batches from the log, highest priority first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from router_node.delivery.lane import id_order
from router_node.delivery.sequencer import Sequencer
from router_node.log.port import NOWHERE, Entry, IngestLog, LogUnavailable

SWEEP_S = 1.0
FULL_SWEEP_S = 30.0
SOURCES_AT_ONCE = 64
LONGEST_SHARE = 8
ENTRIES_AT_ONCE = 4
PENDING_AT_ONCE = 16
PAUSE_S = 0.2

Source = tuple[int, int]

log = structlog.get_logger(__name__)


class Bell:
    """Names the (partition, priority) streams that have something to read."""

    def __init__(self) -> None:
        self._rung: dict[Source, None] = {}
        self._heard = asyncio.Event()

    def ring(self, partition: int, priority: int) -> None:
        """Say that a stream has something."""
        self._rung[partition, priority] = None
        self._heard.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until something rang; False when nothing did in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            return False
        return True

    def take(self, most: int) -> list[Source]:
        """Take up to ``most`` streams, highest priority first; an eighth of them are those that rang the longest ago.

        So none waits for ever behind more busy streams of higher priorities than are taken at once.
        """
        by_priority = sorted(self._rung, key=lambda source: -source[1])
        sources = by_priority[: most - most // LONGEST_SHARE]
        if len(by_priority) > len(sources):
            taken = set(sources)
            longest = [source for source in self._rung if source not in taken]
            sources += sorted(longest[: most - len(sources)], key=lambda source: -source[1])
        for source in sources:
            del self._rung[source]
        if not self._rung:
            self._heard.clear()
        return sources

    def silence(self, partition: int) -> None:
        """Forget what rang for a partition."""
        for source in [s for s in self._rung if s[0] == partition]:
            del self._rung[source]


class Unsettled(Protocol):
    """What has been read and is not settled, as the settle stage counts it."""

    @property
    def has_room(self) -> bool:
        """More may be read."""
        ...

    async def room(self) -> object:
        """Wait until more may be read."""
        ...

    def held(self, partition: int) -> int:
        """Return how many unsettled events of a partition are in memory."""
        ...


class Reader:
    """Follows the bell, with a sweep behind it, since a doorbell may be lost.

    A stream is first read from its pending entries (read before, never settled), then for new ones; the same holds
    after a read whose answer was lost. Nothing is read while there is no room in memory, but for streams that the
    ``sequencer`` needs to let go of what it holds. When the log has more unsettled events of a partition than are held
    in memory, there is more to read.
    """

    def __init__(
        self,
        ingest: IngestLog,
        bell: Bell,
        unsettled: Unsettled,
        sequencer: Sequencer,
        route: Callable[[Entry], None],
    ) -> None:
        self._ingest = ingest
        self._bell = bell
        self._unsettled = unsettled
        self._sequencer = sequencer
        self._route = route
        self._last: dict[Source, bytes] = {}
        self._brought: dict[Source, bytes] = {}
        self._recovering: dict[Source, None] = {}
        self._tenures: dict[int, int] = {}
        self._swept_at = self._swept_all_at = time.monotonic()
        self.entries_read = self.entries_brought = self.sweeps = self.found_by_sweep = 0

    def own(self, partition: int) -> None:
        """Begin with a partition: its pending entries first."""
        self._tenures[partition] = self._tenures.get(partition, 0) + 1
        for priority in range(9, -1, -1):
            self._last[partition, priority] = b"0"
            self._brought.pop((partition, priority), None)
            self._recovering[partition, priority] = None
            self._bell.ring(partition, priority)

    def lose(self, partition: int) -> None:
        """Stop reading a partition."""
        for priority in range(10):
            for kept in (self._last, self._recovering, self._brought):
                kept.pop((partition, priority), None)
        self._bell.silence(partition)

    def take(self, entry: Entry, before: bytes) -> None:
        """Take an entry that was brought; ``before`` is the id of the one before it in its stream.

        When that was not read yet, or there is no room, or the stream is being recovered, it is read in its turn. The
        log does not know that it was taken, so a read of its stream finds it again until it is settled.
        """
        source = (entry.partition, entry.priority)
        last = self._last.get(source)
        if last is None or source in self._recovering or not self._unsettled.has_room or _after(before, last):
            self._bell.ring(*source)
        elif before == last or _after(entry.entry_id, last):
            self._brought[source] = entry.entry_id
            self.entries_brought += 1
            self._accept(source, entry)
            self._sequencer.advance(entry.partition)
            self._ring_wanted()

    def owned(self) -> Collection[Source]:
        """Return the streams that are read."""
        return self._last.keys()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            rang = await self._bell.wait(max(0.0, self._swept_at + SWEEP_S - time.monotonic()))
            sources: list[Source] = []
            try:
                if not rang or time.monotonic() > self._swept_at + SWEEP_S:
                    await self._sweep()
                sources = await self._next_sources()
                await self._recover([s for s in sources if s in self._recovering])
                await self._read([s for s in sources if s not in self._recovering])
            except LogUnavailable as error:
                log.warning("the log cannot be read; trying again", error=str(error))
                for source in sources:
                    if source in self._last:
                        self._recovering[source] = None
                        self._bell.ring(*source)
                await asyncio.sleep(PAUSE_S)

    async def _next_sources(self) -> list[Source]:
        wanted = () if self._unsettled.has_room else self._sequencer.wanted()
        if not wanted:
            await self._unsettled.room()
            wanted = self._bell.take(SOURCES_AT_ONCE)
        return [source for source in wanted[:SOURCES_AT_ONCE] if source in self._last]

    async def _sweep(self) -> None:
        """Ring for partitions of which the log holds more than is in memory, and now and then for all."""
        self._swept_at = time.monotonic()
        self.sweeps += 1
        full = self._swept_at - self._swept_all_at > FULL_SWEEP_S
        partitions = sorted({partition for partition, _ in self._last})
        if full:
            self._swept_all_at = self._swept_at
            behind = partitions
        else:
            unsettled = await self._ingest.unsettled(partitions)
            behind = [partition for partition in partitions if unsettled[partition] > self._unsettled.held(partition)]
            self.found_by_sweep += len(behind)
        for partition in behind:
            for priority in range(10):
                if (partition, priority) in self._last:
                    self._bell.ring(partition, priority)

    async def _recover(self, sources: Sequence[Source]) -> None:
        if not sources:
            return
        asked = [(*source, self._last.get(source, b"0")) for source in sources]
        tenures = dict(self._tenures)
        entries = await self._ingest.read_pending(asked, PENDING_AT_ONCE)
        counts = Counter((entry.partition, entry.priority) for entry in entries)
        self._take(entries, tenures)
        for source in sources:
            if counts[source] < PENDING_AT_ONCE and tenures.get(source[0]) == self._tenures.get(source[0]):
                self._recovering.pop(source, None)
            if source in self._last:
                self._bell.ring(*source)

    async def _read(self, sources: Sequence[Source]) -> None:
        if not sources:
            return
        tenures = dict(self._tenures)
        asked_at = {partition: self._sequencer.mark(partition).seen for partition, _ in sources}
        entries = await self._ingest.read(sources, ENTRIES_AT_ONCE)
        counts = Counter((entry.partition, entry.priority) for entry in entries)
        self._take(entries, tenures)
        last = {(entry.partition, entry.priority): entry.last for entry in entries if entry.bodies}
        for source in sources:
            partition, priority = source
            if source in self._last and tenures[partition] == self._tenures[partition]:
                drained = counts[source] < ENTRIES_AT_ONCE
                mark = self._sequencer.mark(partition)
                mark.read(priority, asked_at[partition], last.get(source, NOWHERE), drained=drained)
                if not drained:
                    self._bell.ring(*source)
        for partition in asked_at:
            self._sequencer.advance(partition)
        self._ring_wanted()

    def _ring_wanted(self) -> None:
        for source in self._sequencer.wanted():
            self._bell.ring(*source)

    def _take(self, entries: Collection[Entry], tenures: dict[int, int]) -> None:
        """Route entries, but for those of a partition that was lost, or lost and taken again, since they were asked."""
        for entry in entries:
            source = (entry.partition, entry.priority)
            if source in self._last and tenures[entry.partition] == self._tenures[entry.partition]:
                self.entries_read += 1
                if not self._was_brought(source, entry):
                    self._accept(source, entry)

    def _was_brought(self, source: Source, entry: Entry) -> bool:
        last_brought = self._brought.get(source)
        return last_brought is not None and not _after(entry.entry_id, last_brought)

    def _accept(self, source: Source, entry: Entry) -> None:
        self._last[source] = entry.entry_id
        self._sequencer.mark(entry.partition).saw(entry.last)
        self._route(entry)


def _after(entry_id: bytes, other: bytes) -> bool:
    """Tell whether an entry comes after another in their stream."""
    return entry_id != other and id_order(entry_id) > id_order(other)
