"""The log's two contracts: the ingest streams every event passes through, and the queues lanes spill into.

Both are implemented in memory and on Redis, and one suite (tests/contract/test_log.py) holds both to the same words.
A partition's state is changed only by its owner: the implementations take the owner's fencing token from the
ownership they were built with, and raise :class:`LostPartition` when it is no longer the token in force.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from router_client.appending.records import MAX_BATCH_EVENTS, Answer, Closed, Moved, NewRecord
from router_client.errors import Overloaded, Unavailable
from stores.ports import DeadLetter

__all__ = ["MAX_BATCH_EVENTS", "Answer", "Closed", "Moved", "NewRecord"]


class LostPartition(Exception):
    """The lease of ``partition`` is not ours (any more): nothing was changed, and its work here must stop."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition} is not owned by this node")
        self.partition = partition


class LogUnavailable(Unavailable):
    """The log cannot be reached or did not answer in time; whether the change was made is unknown."""


class Position(NamedTuple):
    """Where an event stands in its partition: comparable across the ten streams, stable over redelivery."""

    generation: int
    sequence: int


NOWHERE = Position(0, 0)
"""The position of a dead letter that is delivered again: it never raises a high-water mark."""


@dataclass(slots=True, eq=False)
class Entry:
    """One record batch of an ingest stream: events of consecutive positions; ``accepted_at_us`` is the first's time.

    ``outstanding`` counts what must settle or spill before the entry may leave its stream. A ``fence`` has no events:
    it marks where slots move away, to the table of that many partitions. ``kept`` are the ids of its events when they
    had to be stored before their publishers were answered.
    """

    partition: int
    priority: int
    entry_id: bytes
    first: Position
    accepted_at_us: int
    bodies: Sequence[bytes]
    outstanding: int = 0
    fence: int = 0
    kept: Sequence[str] = ()

    @property
    def last(self) -> Position:
        """The position of the last event; ``NOWHERE`` for an entry without any."""
        return Position(self.first.generation, self.first.sequence + len(self.bodies) - 1) if self.bodies else NOWHERE

    def accepted_at(self, position: Position) -> int:
        """Return when the event at ``position`` was accepted, µs since 1970: one microsecond apart within a batch."""
        return self.accepted_at_us + position.sequence - self.first.sequence

    def kept_id(self, position: Position) -> str:
        """Return the id of the event at ``position`` when it had to be stored, else nothing."""
        return self.kept[position.sequence - self.first.sequence] if self.kept else ""


ALL_PRIORITIES = 10
"""The priority in the name of a lane that takes events of every priority: its subscription is strictly ordered."""


class LaneKey(NamedTuple):
    """A lane: one subscription's share of one partition and priority, or of all priorities (``ALL_PRIORITIES``)."""

    partition: int
    subscription: str
    priority: int

    @classmethod
    def of(cls, partition: int, label: str) -> LaneKey:
        """Return the lane of a partition that has this :attr:`label`."""
        subscription, _, priority = label.rpartition(":")
        return cls(partition, subscription, int(priority))

    @property
    def label(self) -> str:
        """The lane's name inside its partition: ``<subscription>:<priority>``."""
        return f"{self.subscription}:{self.priority}"


SCHEDULE = "_schedule"
"""The router's own lane of events that are not to be delivered yet."""


class Spill(NamedTuple):
    """One event on its way to a lane's durable queue; ``kept`` is its id when it had to be stored.

    ``due_us`` is set in the lanes of the ``SCHEDULE`` alone: the time at which the event goes back to its stream.
    """

    position: Position
    accepted_at_us: int
    body: bytes
    kept: str = ""
    due_us: int = 0


class Spilled(NamedTuple):
    """One event in a lane's durable queue; ``kept`` is its id when it had to be stored."""

    queue_id: bytes
    position: Position
    accepted_at_us: int
    body: bytes
    kept: str = ""


class RetryState(NamedTuple):
    """What survives the owner of a failing event: deliveries made, when the next is due (log time), the last error."""

    attempts: int
    due_us: int
    error: str


@dataclass(slots=True)
class LaneStep:
    """Durable changes to one lane, applied in this order in one atomic step."""

    lane: LaneKey
    spill: list[Spill] = field(default_factory=list)
    retry: dict[bytes, RetryState] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    remove: list[bytes] = field(default_factory=list)


Released = list[tuple[int, str]]
"""Events that had to be stored, by (accepted_at_us, id), and that no stream and no queue holds any more."""


class LaneStepped(NamedTuple):
    """The answer to a LaneStep: the queue ids of what was spilled, in order, and how many events the queue holds."""

    queue_ids: list[bytes]
    queued: int
    released: Released = []  # noqa: RUF012 - a tuple's default, never changed


class Settled(NamedTuple):
    """The answer to settling: partitions found lost, and what is released."""

    lost: list[int]
    released: Released


class Begun(NamedTuple):
    """A partition taken up: its generation, and whether the outbox has still to be fed to it."""

    generation: int
    unfed: bool


@dataclass(slots=True)
class PartitionState:
    """What a new owner must know: spilled lanes with their length and retries, and each lane's high-water position."""

    queued: dict[LaneKey, int] = field(default_factory=dict)
    retries: dict[LaneKey, dict[bytes, RetryState]] = field(default_factory=dict)
    high_water: dict[LaneKey, Position] = field(default_factory=dict)

    def by_subscription(self) -> dict[str, PartitionState]:
        """Return each subscription's part of it."""
        parts: dict[str, PartitionState] = defaultdict(PartitionState)
        for key, queued in self.queued.items():
            parts[key.subscription].queued[key] = queued
        for key, retries in self.retries.items():
            parts[key.subscription].retries[key] = retries
        for key, mark in self.high_water.items():
            parts[key.subscription].high_water[key] = mark
        return parts


class Follower(Protocol):
    """Who reads the log, as those who append to it see it."""

    def rang(self, partition: int, priority: int) -> None:
        """Hear that a stream has something new to read, here or at its owner's."""
        ...

    def brought(self, entry: Entry, before: bytes) -> None:
        """Get what was appended to a partition of this node's.

        ``before`` is the id of the entry before it in its stream, b"0" when there is none.
        """
        ...

    def all_brought(self) -> None:
        """Hear that this was all that came at once."""
        ...


class Nobody:
    """Nobody follows."""

    def rang(self, partition: int, priority: int) -> None:
        """See Follower."""

    def brought(self, entry: Entry, before: bytes) -> None:
        """See Follower."""

    def all_brought(self) -> None:
        """See Follower."""


class IngestLog(Protocol):
    """Ten streams of record batches per partition, highest priority first.

    What is appended by this node its ``follower`` hears of at once: it is brought, or it rings, unless the owner has
    been told already.
    """

    follower: Follower

    async def append(self, records: Sequence[NewRecord]) -> list[Answer]:
        """Append; one answer per record.

        Records of one partition and priority keep their order. Raises LogUnavailable when the outcome is unknown.
        """
        ...

    async def read(self, sources: Sequence[tuple[int, int]], count: int) -> list[Entry]:
        """Return entries never read before of each (partition, priority), in that order, ``count`` each at most.

        Fenced: of a partition that is not ours (any more) nothing is read.
        """
        ...

    async def read_pending(self, sources: Sequence[tuple[int, int, bytes]], count: int) -> list[Entry]:
        """Return entries read before but not settled of each (partition, priority, after entry id), ``count`` each at
        most; b"0" begins with the first.
        """
        ...

    async def settle(self, entries: Sequence[Entry]) -> Settled:
        """Remove entries for good, fenced."""
        ...

    async def backlog(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        """Return the number of entries in each stream: partition -> priority -> entries."""
        ...

    async def unsettled(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the number of events of each partition that were appended and not settled."""
        ...

    async def oldest(self, partitions: Sequence[int]) -> int | None:
        """Return a time, µs since 1970, before which nothing unsettled of these partitions was accepted; None when
        nothing is unsettled.
        """
        ...

    async def now_us(self) -> int:
        """Return the log's clock, microseconds since 1970."""
        ...


class Generations(Protocol):
    """What becomes of a log that has lost data: a new generation, and what the outbox kept is fed to it."""

    async def begin(self, partition: int) -> Begun | LostPartition:
        """Begin to own a partition: a new generation when the log may have lost data since its last owner did.

        One that others append to takes no appends until it is opened, when it has no data.
        """
        ...

    async def feed(self, partition: int, events: Sequence[tuple[int, Spill]]) -> int | LostPartition:
        """Append (priority, event) that the log has lost, fenced; returns how many were not there any more."""
        ...

    async def open(self, partition: int, generation: int) -> LostPartition | None:
        """Note that the outbox was fed to this generation, and take appends; fenced."""
        ...


class Due(NamedTuple):
    """What became due: the priority of each event that went back to its stream, and when the next is due, if any."""

    priorities: list[int]
    next_us: int | None


class Schedule(Protocol):
    """Events that are not to be delivered yet, kept in the lanes of the ``SCHEDULE``."""

    async def due(self, partition: int, limit: int) -> Due | LostPartition:
        """Append up to ``limit`` events whose time has come to their streams, and take them from the schedule; fenced.

        Each keeps its time of acceptance and gets a new position.
        """
        ...


class LaneLog(Protocol):
    """The durable queues of lanes, their retries and dead letters."""

    async def load(self, partition: int) -> PartitionState:
        """Return what a new owner of the partition must know."""
        ...

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        """Apply the steps, each atomic and fenced; one answer per step. Safe to repeat up to repeated deliveries.

        Overloaded: there is no room for what the step adds, and none of it was done.
        """
        ...

    async def fetch(self, wants: Sequence[tuple[LaneKey, bytes, int]]) -> list[list[Spilled]]:
        """Read spilled events of each (lane, after queue id, count); b"0" reads from the beginning."""
        ...

    async def discard(self, lane: LaneKey) -> Released | LostPartition:
        """Drop a lane's queue, retries and high-water, fenced; returns what is released."""
        ...


class DurableLanes(LaneLog, Schedule, Protocol):
    """All that lanes leave to the log."""
