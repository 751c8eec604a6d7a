"""A lane: one subscription's share of one partition and priority, and what of it must become durable next.

Pure state, no I/O and no clock. A lane is live (its events still sit in their ingest stream, it holds them in memory)
or spilling (its events go to its durable queue, and memory holds a window of that queue).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from router_node.delivery.item import HALTED, Item, State
from router_node.log.port import SCHEDULE, Entry, LaneKey, LaneStep, LaneStepped, RetryState, Spill, Spilled
from stores.ports import DeadLetter

START = b"0"
CROWDED_EVENTS = 32


class Taken:
    """A lane's step under way, with what to do when it is durable."""

    __slots__ = ("releases", "spilled", "step")

    def __init__(self, step: LaneStep, spilled: list[Item], releases: list[Entry]) -> None:
        self.step = step
        self.spilled = spilled
        self.releases = releases


class Lane:
    """The state of one lane; its subscription's dispatch drives it, the settler makes it durable."""

    __slots__ = (
        "active",
        "aside",
        "by_queue_id",
        "cursor",
        "dead",
        "drained",
        "fetching",
        "forget_later",
        "gone",
        "items",
        "key",
        "parked",
        "queued",
        "releases",
        "remove",
        "retries",
        "retry",
        "spilling",
        "stepping",
        "unsaved",
        "visits",
        "writes",
    )

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.items: dict[Item, None] = {}
        self.active: dict[str, deque[Item] | None] = {}
        self.spilling = False
        self.queued = 0
        self.cursor = START
        self.drained = True
        self.fetching = False
        self.gone: set[bytes] = set()
        self.forget_later: list[bytes] = []
        self.stepping = False
        self.visits = 0
        self.writes = 0
        self.by_queue_id: dict[bytes, Item] = {}
        self.parked: dict[str, bytes] = {}
        self.aside: dict[bytes, str | None] = {}
        self.retries: dict[bytes, RetryState] = {}
        self.unsaved: list[Item] = []
        self.retry: dict[bytes, RetryState] = {}
        self.dead: list[DeadLetter] = []
        self.remove: list[bytes] = []
        self.releases: list[Entry] = []

    @property
    def idle(self) -> bool:
        """Nothing in memory, nothing queued, nothing to make durable: the lane need not exist."""
        return not (
            self.items or self.spilling or self.unsaved or self.dead or self.remove or self.stepping or self.visits
        )

    def resume(self, queued: int, retries: dict[bytes, RetryState]) -> None:
        """Take up a queue that an earlier owner left."""
        self.spilling, self.drained, self.queued = True, False, queued
        self.retries = retries

    def begin_spill(self) -> None:
        """Turn from live to spilling: everything unsettled spills first, in order."""
        self.spilling = True
        self.unsaved.extend(self.items)

    def admit(self, item: Item) -> bool:
        """Hold ``item`` in memory; True when it is its key's turn and it may be delivered."""
        self.items[item] = None
        if item.queue_id is not None:
            self.by_queue_id[item.queue_id] = item
        key = item.key
        if key is None:
            return True
        if key not in self.active:
            self.active[key] = None
            return True
        behind = self.active[key]
        if behind is None:
            behind = self.active[key] = deque()
        behind.append(item)
        item.state = State.BEHIND
        return False

    def finish(self, item: Item) -> Item | None:
        """Note that ``item`` is settled; returns the next item of its key, whose turn it is now."""
        item.state = State.DONE
        self.items.pop(item, None)
        if item.queue_id is not None:
            self.by_queue_id.pop(item.queue_id, None)
            self.retries.pop(item.queue_id, None)
            self.retry.pop(item.queue_id, None)
            self._drop(item.queue_id)
        if item.key is None:
            return None
        behind = self.active.get(item.key)
        if behind:
            following = behind.popleft()
            following.state = State.READY
            return following
        self.active.pop(item.key, None)
        parked_at = self.parked.get(item.key)
        if parked_at is not None:
            self._rewind(parked_at)
        return None

    def park(self, key: str | None, queue_id: bytes, now_us: int) -> bool:
        """Tell whether an event just read must stay in the queue: it was set aside, or earlier ones of its key were."""
        state = self.retries.get(queue_id)
        aside = queue_id in self.aside and state is not None and state.due_us > now_us
        if key is None or key not in self.parked:
            return aside
        if aside or queue_id != self.parked[key]:
            return True
        del self.parked[key]
        return False

    def set_aside(self, item: Item, state: RetryState) -> list[Item]:
        """Leave an item that is in the queue, and those of its key behind it, to the queue until it is recalled.

        Returns what has left memory.
        """
        queue_id = item.queue_id
        assert queue_id is not None  # noqa: S101 - what is not in the queue cannot be left to it
        self.retry[queue_id] = self.retries[queue_id] = state
        self.aside[queue_id] = item.key
        left = [item]
        if item.key is not None:
            left += self.active.pop(item.key, None) or ()
            self.parked[item.key] = queue_id
        for each in left:
            del self.items[each]
            if each.queue_id is None:
                each.state = State.READY  # on its way to the queue; it finds its key parked when it is there
            else:
                each.state = State.DONE
                del self.by_queue_id[each.queue_id]
        return left

    @property
    def crowded(self) -> bool:
        """What waits long should not stay in memory: others need the room."""
        return len(self.items) >= CROWDED_EVENTS

    def recall(self, queue_id: bytes) -> bool:
        """Have an event that was set aside read again, and those of its key; False when it is not set aside."""
        if queue_id not in self.aside:
            return False
        del self.aside[queue_id]
        self._rewind(queue_id)
        return True

    def set_aside_before(self, queue_id: bytes, key: str | None) -> None:
        """Take up an event just read that an earlier owner set aside, or this one before it forgot its window."""
        self.aside[queue_id] = key
        if key is not None:
            self.parked[key] = queue_id

    def begin_fetch(self) -> tuple[bytes, int]:
        """Return where to read the queue from, and the number of spills it will be read after; see fetched."""
        self.fetching = True
        return self.cursor, self.writes

    def fetched(self, asked: tuple[bytes, int], found: Sequence[Spilled], count: int) -> list[Spilled]:
        """Take in what was read of the queue; returns the events not in memory yet, in order.

        What the queue was asked for is void when the cursor was set back meanwhile, and the queue counts as drained
        only if nothing was spilled between asking and now.
        """
        self.fetching = False
        known, self.forget_later = self.forget_later, []
        if asked[0] != self.cursor:
            self.gone.difference_update(known)
            return []
        if found:
            self.cursor = found[-1].queue_id
        if len(found) < count and asked[1] == self.writes and not self.stepping:
            self.drained = True
            if asked[0] != START and not found:
                self._look_for_repeats()
        fresh = [s for s in found if s.queue_id not in self.gone and s.queue_id not in self.by_queue_id]
        self.gone.difference_update(known)
        return fresh

    def take(self) -> Taken | None:
        """Take what must become durable as one step; None when there is nothing."""
        if not (self.unsaved or self.retry or self.dead or self.remove or self.releases):
            return None
        spilled = [item for item in self.unsaved if item.state is not State.DONE]
        releases = self.releases
        releases.extend(i.entry for i in self.unsaved if i.state is State.DONE and i.entry is not None)
        scheduled = self.key.subscription == SCHEDULE
        step = LaneStep(
            self.key,
            [Spill(i.position, i.accepted_at_us, i.body, i.kept, i.due_us if scheduled else 0) for i in spilled],
            self.retry,
            self.dead,
            self.remove,
        )
        self.unsaved, self.retry, self.dead, self.remove, self.releases = [], {}, [], [], []
        self.writes += bool(spilled)
        self.stepping = True
        return Taken(step, spilled, releases)

    def stepped(self, taken: Taken, answer: LaneStepped) -> list[Item]:
        """Take in a step that is durable; returns the spilled items that are not in memory yet, in order."""
        self.stepping = False
        self.writes += bool(taken.spilled)
        self.queued = answer.queued
        if self.fetching:
            self.forget_later.extend(taken.step.remove)
        else:
            self.gone.difference_update(taken.step.remove)
        arrivals = []
        for item, queue_id in zip(taken.spilled, answer.queue_ids, strict=True):
            item.queue_id = queue_id
            if item.state is State.DONE:
                self._drop(queue_id)
            elif item in self.items:
                self.by_queue_id[queue_id] = item
                self.cursor = queue_id
                if item.state is State.WAITING:
                    self.retry[queue_id] = RetryState(item.attempts, item.due_us, item.error)
            else:
                arrivals.append(item)
        if not (self.unsaved or self.items or self.visits):
            if self.queued == 0:
                self.go_live()
            elif self.drained and not arrivals:
                self._look_for_repeats()
        return arrivals

    def _look_for_repeats(self) -> None:
        """Read the queue anew when it holds something although all was read: a step whose answer was lost was made
        twice.
        """
        busy = self.items or self.unsaved or self.remove or self.aside or self.visits
        if self.queued and not busy:
            self.cursor, self.drained = START, False

    def go_live(self) -> None:
        """Turn from spilling to live: the queue is empty."""
        self.spilling, self.drained, self.cursor = False, True, START
        self.parked.clear()
        self.aside.clear()
        self.retries.clear()

    def evict(self) -> bool:
        """Forget the window in memory, leaving everything to the queue; False when something is not there yet."""
        busy = self.stepping or self.unsaved or self.fetching
        if busy or not self.spilling or any(i.state in (State.IN_FLIGHT, State.WAITING) for i in self.items):
            return False
        self.retries.update(
            {i.queue_id: RetryState(i.attempts, 0, i.error) for i in self.items if i.queue_id and i.attempts}
        )
        for item in self.items:
            item.state = State.DONE
        self.items.clear()
        self.active.clear()
        self.by_queue_id.clear()
        self.parked.clear()
        self.aside.clear()
        self.drained, self.cursor = False, START
        return True

    def release(self, queue_id: bytes) -> bool:
        """Have an event that halts its key delivered again, as if for the first time; False when it is not there."""
        if not self._halts(queue_id):
            return False
        self.retries[queue_id] = self.retry[queue_id] = RetryState(0, 0, "")
        self.recall(queue_id)
        return True

    def drop(self, queue_id: bytes) -> bool:
        """Remove an event that halts its key, so that the key goes on; False when there is none there."""
        if not self._halts(queue_id):
            return False
        del self.retries[queue_id]
        self.retry.pop(queue_id, None)
        key = self.aside.get(queue_id)
        if key is not None:
            self.parked.pop(key, None)
        self.recall(queue_id)
        self._drop(queue_id)
        return True

    def _halts(self, queue_id: bytes) -> bool:
        state = self.retries.get(queue_id)
        return state is not None and state.due_us == HALTED

    def _drop(self, queue_id: bytes) -> None:
        self.remove.append(queue_id)
        self.gone.add(queue_id)

    def _rewind(self, parked_at: bytes) -> None:
        before = previous_id(parked_at)
        if self.drained or id_order(before) < id_order(self.cursor):
            self.cursor = before
        self.drained = False


def previous_id(queue_id: bytes) -> bytes:
    """Return the stream id just before ``queue_id``, to read from it inclusively."""
    millis, _, sequence = queue_id.partition(b"-")
    if not sequence:
        return b"%020d" % (int(millis) - 1)
    if sequence != b"0":
        return b"%s-%d" % (millis, int(sequence) - 1)
    return b"%d-%d" % (int(millis) - 1, 2**64 - 1)


def id_order(queue_id: bytes) -> tuple[int, int]:
    """Return a sort key for stream ids."""
    millis, _, sequence = queue_id.partition(b"-")
    return int(millis), int(sequence or 0)
