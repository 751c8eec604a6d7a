"""What one subscription holds in memory of its lanes, and how that follows their durable queues."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from router_node.clock import Clock
from router_node.delivery.item import HALTED, Head, Item, State
from router_node.delivery.lane import Lane, Taken
from router_node.log.port import (
    ALL_PRIORITIES,
    Entry,
    LaneKey,
    LaneStepped,
    PartitionState,
    Position,
    RetryState,
    Spilled,
)

MEMORY_EVENTS = 8000
MEMORY_BYTES = 32 * 1024 * 1024
LANE_EVENTS = 256
SPILL_AFTER_S = 2.0
ASIDE_US = 1_000_000


class Upkeep(Protocol):
    """What a window asks of the stages around it."""

    def release(self, entry: Entry) -> None:
        """One event of ``entry`` is settled or spilled."""
        ...

    def make_durable(self, lane: Lane, window: Window) -> None:
        """The lane has something for the log; ``window.stepped`` hears when it is there."""
        ...

    def fetch(self, lane: Lane, window: Window) -> None:
        """The lane has room for more of its queue; ``window.fetched`` gets it."""
        ...

    def soon(self, pump: Callable[[], None]) -> None:
        """Call ``pump`` when the present turn of the loop is over."""
        ...


class Window:
    """The lanes of one subscription on this node, and the bounded part of their events that is in memory.

    ``deliverable`` is called with each event read back from a queue whose turn it is; ``wanted`` says whether anybody
    takes deliveries now, for nothing is read back otherwise; ``later`` is called with one that is left to its queue
    until its next attempt is due. ``ordering`` decides whether lanes keep events of one key one after another, and
    whether there is one lane for all priorities.
    """

    def __init__(
        self,
        subscription: str,
        upkeep: Upkeep,
        clock: Clock,
        *,
        ordering: str,
        deliverable: Callable[[Item], None],
        later: Callable[[Item], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._subscription = subscription
        self._upkeep = upkeep
        self._clock = clock
        self.ordering = ordering
        self._deliverable = deliverable
        self._later = later
        self._wanted = wanted
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._high_water: dict[LaneKey, Position] = {}
        self._barred: set[tuple[int, int]] = set()
        self.held = 0
        self.held_bytes = 0

    @property
    def keyed(self) -> bool:
        """Events of one key are delivered one after another."""
        return self.ordering != "none"

    def lane(self, partition: int, priority: int) -> Lane:
        """Return the lane that events of this priority go to, made when it is first needed."""
        return self._lane(partition, ALL_PRIORITIES if self.ordering == "strict" else priority)

    def _lane(self, partition: int, priority: int) -> Lane:
        lane = self._lanes.get((partition, priority))
        if lane is None:
            lane = self._lanes[partition, priority] = Lane(LaneKey(partition, self._subscription, priority))
        return lane

    def spilled_before(self, lane: Lane, position: Position) -> bool:
        """Tell whether an event read again from its ingest stream is one that an earlier owner settled or spilled."""
        mark = self._high_water.get(lane.key) if self._high_water else None
        return mark is not None and position <= mark

    def bar(self, partition: int, priority: int) -> None:
        """Deliver nothing of this lane, only queue it, until :meth:`unbar`: what precedes it is elsewhere still."""
        self._barred.add((partition, priority))

    def unbar(self, partition: int, priority: int) -> None:
        """Deliver what a barred lane has queued meanwhile."""
        self._barred.discard((partition, priority))
        lane = self._lanes.get((partition, priority))
        if lane is not None:
            self._want(lane)

    def is_barred(self, lane: Lane) -> bool:
        """Tell whether a lane may only queue now."""
        return bool(self._barred) and (lane.key.partition, lane.key.priority) in self._barred

    @property
    def empty(self) -> bool:
        """There are no lanes, and none is expected to be let go on."""
        return not (self._lanes or self._barred)

    @property
    def full(self) -> bool:
        """The subscription's memory is used up."""
        return self.held >= MEMORY_EVENTS or self.held_bytes >= MEMORY_BYTES

    @property
    def backlog(self) -> int:
        """Events that are not settled, as far as this node knows."""
        return sum(
            lane.queued + len(lane.unsaved) if lane.spilling else len(lane.items) for lane in self._lanes.values()
        )

    def lanes(self) -> list[LaneKey]:
        """Return the keys of the lanes there are."""
        return [lane.key for lane in self._lanes.values()]

    def spilled_lanes(self) -> Iterator[tuple[int, int]]:
        """Yield the partition of each lane, and how many events are in the lane's queue."""
        return ((lane.key.partition, lane.queued) for lane in self._lanes.values())

    def admit(self, item: Item) -> bool:
        """Hold an item in memory; True when it may be delivered now."""
        self.held += 1
        self.held_bytes += len(item.body)
        return item.lane.admit(item)

    def finish(self, item: Item) -> Item | None:
        """An item is settled: let its entry or its place in the queue go; returns the next of its key."""
        lane = item.lane
        if item in lane.items:
            self.held -= 1
            self.held_bytes -= len(item.body)
        following = lane.finish(item)
        if item.queue_id is not None:
            self._upkeep.make_durable(lane, self)
        elif not lane.spilling:
            self._release(item)
        self._want(lane)
        return following

    def spill(self, item: Item) -> None:
        """Send an item that is not in memory to its lane's queue, behind all the lane holds."""
        if not item.lane.spilling:
            item.lane.begin_spill()
        item.lane.unsaved.append(item)
        self._upkeep.make_durable(item.lane, self)

    def begin_spill(self, lane: Lane) -> None:
        """Send all that a live lane holds to its queue; it stays in memory too."""
        lane.begin_spill()
        self._upkeep.make_durable(lane, self)

    @contextmanager
    def visit(self, partition: int, priority: int) -> Iterator[LaneKey]:
        """Let somebody else write to a lane's queue meanwhile: the lane stays spilling, and reads it afterwards."""
        lane = self.lane(partition, priority)
        lane.visits += 1
        if not lane.spilling:
            self.begin_spill(lane)
        try:
            yield lane.key
        finally:
            lane.visits -= 1
            lane.writes += 1
            lane.drained = False
            self._want(lane)

    def wrote(self, key: LaneKey, queued: int) -> None:
        """Learn from a visitor how many events are in the lane's queue now."""
        lane = self._lanes.get((key.partition, key.priority))
        if lane is not None:
            lane.queued = queued

    def want_all(self) -> None:
        """Somebody takes deliveries again: read back what there is room for."""
        for lane in self._lanes.values():
            self._want(lane)

    def spill_all(self) -> None:
        """Send everything that is only in memory to the queues."""
        for lane in self._lanes.values():
            self._spill_live(lane)

    def spill_from(self, partitions: Collection[int]) -> None:
        """Send what live lanes of these partitions hold to their queues."""
        for lane in self._lanes.values():
            if lane.key.partition in partitions:
                self._spill_live(lane)

    def spill_lane(self, partition: int, priority: int) -> None:
        """Send what live lanes hold of a stream to their queues, so that the stream may be left behind."""
        for level in (priority, ALL_PRIORITIES):
            if (lane := self._lanes.get((partition, level))) is not None:
                self._spill_live(lane)

    def _spill_live(self, lane: Lane) -> None:
        if not lane.spilling and lane.items:
            self.begin_spill(lane)

    def tick(self, now: float, *, absent: bool, wanting: bool) -> None:
        """Spill what lingers in live lanes, forget what nobody takes, drop lanes with nothing in them.

        When consumers are ``wanting``, though each queue is in memory ahead of what is delivered, the keys of that wait
        for slow consumers: others may be behind them, so more is read. Reading it sooner would cost more than it gives,
        as what a key has there beyond its share is read again in its turn.
        """
        for place, lane in list(self._lanes.items()):
            oldest = next(iter(lane.items), None)
            if not lane.spilling and oldest is not None and (absent or now - oldest.since > SPILL_AFTER_S):
                self.begin_spill(lane)
            if absent and lane.items:
                self._evict(lane)
            if wanting:
                self._want(lane, far=True)
            if lane.idle and not lane.fetching:
                del self._lanes[place]

    def resume(self, partition: int, state: PartitionState) -> None:
        """Take up the lanes of a partition that this node has come to own."""
        for key, mark in state.high_water.items():
            if key.subscription == self._subscription:
                self._high_water[key] = mark
        for key, queued in state.queued.items():
            if key.subscription == self._subscription:
                lane = self._lane(partition, key.priority)
                lane.resume(queued, state.retries.get(key, {}))
                self._want(lane)

    def lose(self, partition: int) -> list[Item]:
        """Forget a partition that is no longer ours; returns what was in memory. Its next owner delivers it."""
        lost: list[Item] = []
        for place, lane in list(self._lanes.items()):
            if place[0] == partition:
                lost.extend(lane.items)
                del self._lanes[place]
        for item in lost:
            self.held -= 1
            self.held_bytes -= len(item.body)
        self._high_water = {k: v for k, v in self._high_water.items() if k.partition != partition}
        self._barred = {place for place in self._barred if place[0] != partition}
        return lost

    def close(self) -> None:
        """Release everything: the subscription is gone."""
        for lane in self._lanes.values():
            for item in [*lane.items, *lane.unsaved]:
                item.state = State.DONE
                self._release(item)
            for entry in lane.releases:
                self._upkeep.release(entry)
        self._lanes.clear()
        self.held = self.held_bytes = 0

    def stepped(self, lane: Lane, taken: Taken, answer: LaneStepped) -> None:
        """A step of the lane is durable."""
        for item in taken.spilled:
            self._release(item)
        for entry in taken.releases:
            self._upkeep.release(entry)
        if not self._ours(lane):
            return
        arrivals = lane.stepped(taken, answer)
        for item in taken.spilled:
            if item.state is State.WAITING:
                self.wait(item)
        for item in arrivals:
            if lane.drained and self._wanted() and self._room(lane, far=True) and not self.is_barred(lane):
                lane.cursor = item.queue_id or lane.cursor
                self._take_in(lane, item)
            else:
                lane.drained = False
        if lane.remove or lane.retry or lane.unsaved:
            self._upkeep.make_durable(lane, self)
        self._want(lane)

    def fetched(self, lane: Lane, asked: tuple[bytes, int], found: Sequence[Spilled], count: int) -> None:
        """Part of a lane's queue was read."""
        if not self._ours(lane):
            return
        now = self._clock.monotonic()
        for spilled in lane.fetched(asked, found, count):
            head = Head.of(spilled.body)
            item = Item(lane, spilled.position, spilled.accepted_at_us, spilled.body, head, now, keyed=self.keyed)
            item.queue_id, item.kept = spilled.queue_id, spilled.kept
            self._take_in(lane, item)
        if found or asked[0] != lane.cursor or not lane.stepping:
            self._want(lane)

    def wait(self, item: Item) -> None:
        """Leave an item that is in its queue to that queue, if its next attempt is so far off that it only takes room.

        One that was given up and halts its key becomes a dead letter in the same step.
        """
        lane, queue_id = item.lane, item.queue_id
        if queue_id is None or not self._aside(lane, item.due_us):
            return
        if item.letter is not None:
            lane.dead.append(replace(item.letter, queue_id=queue_id.decode()))
            item.letter = None
        for left in lane.set_aside(item, RetryState(item.attempts, item.due_us, item.error)):
            self.held -= 1
            self.held_bytes -= len(left.body)
        item.body = b""
        self._upkeep.make_durable(lane, self)

    def recall(self, item: Item) -> None:
        """The next attempt of an item is due that was left to its queue."""
        if item.queue_id is not None and self._ours(item.lane) and item.lane.recall(item.queue_id):
            self._want(item.lane)

    def release(self, partition: int, priority: int, queue_id: bytes) -> bool:
        """Have an event that halts its key delivered again; False when there is none at that place."""
        lane = self.lane(partition, priority)
        return lane.release(queue_id) and self._goes_on(lane)

    def drop(self, partition: int, priority: int, queue_id: bytes) -> bool:
        """Remove an event that halts its key; False when there is none at that place."""
        lane = self.lane(partition, priority)
        return lane.drop(queue_id) and self._goes_on(lane)

    def _goes_on(self, lane: Lane) -> bool:
        self._upkeep.make_durable(lane, self)
        self._want(lane)
        return True

    def _aside(self, lane: Lane, due_us: int) -> bool:
        return due_us == HALTED or (lane.crowded and due_us - self._clock.log_us() > ASIDE_US)

    def _take_in(self, lane: Lane, item: Item) -> None:
        queue_id = item.queue_id or b""
        if lane.park(item.key, queue_id, self._clock.log_us()):
            return
        state = lane.retries.get(queue_id)
        if state is not None and self._aside(lane, state.due_us):
            lane.set_aside_before(queue_id, item.key)
            item.state, item.due_us, item.body = State.DONE, state.due_us, b""
            self._later(item)
            return
        if item.key in lane.active and len(lane.items) >= LANE_EVENTS // 2:
            lane.parked[str(item.key)] = queue_id
            return
        before = lane.retries.pop(queue_id, None)
        if before is not None:
            item.attempts, item.due_us, item.error = before.attempts, before.due_us, before.error
        if self.admit(item):
            self._deliverable(item)

    def _release(self, item: Item) -> None:
        if item.entry is not None:
            entry, item.entry = item.entry, None
            self._upkeep.release(entry)

    def _want(self, lane: Lane, *, far: bool = False) -> None:
        ready = lane.spilling and not lane.drained and not lane.fetching and not self.is_barred(lane)
        if ready and self._wanted() and self._room(lane, far=far):
            self._upkeep.fetch(lane, self)

    def _room(self, lane: Lane, *, far: bool) -> bool:
        """A lane may always hold a few events, more while the subscription's memory lasts, never beyond its share."""
        held = len(lane.items)
        return held < LANE_EVENTS // 16 or (held < LANE_EVENTS * (3 if far else 1) // 4 and not self.full)

    def _evict(self, lane: Lane) -> None:
        count, size = len(lane.items), sum(len(item.body) for item in lane.items)
        if lane.evict():
            self.held -= count
            self.held_bytes -= size

    def _ours(self, lane: Lane) -> bool:
        return self._lanes.get((lane.key.partition, lane.key.priority)) is lane
