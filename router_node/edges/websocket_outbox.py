"""What waits to be sent on one connection: bounded, in order, deliveries encoded only when it is their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from router_client import wire
from router_node.contract import Delivery
from router_node.edges.limits import Limits

TOGETHER_BYTES = 64 * 1024
"""What is written at once, but for the frame that reaches it."""

_OVERHEAD = 100  # bytes of a delivery beside its event, more or less


class Lot:
    """Deliveries of one subscription that wait to be sent; what comes while they wait joins them."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self.held = True
        """Whether they must wait still: the client has not been told of its subscription."""
        self.queued = False
        self._waiting: deque[Delivery] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, deliveries: list[Delivery]) -> None:
        """Add deliveries."""
        self._waiting += deliveries

    def clear(self) -> None:
        """Drop them: the subscription is over, and its hold on them."""
        self._waiting.clear()

    def take(self, max_bytes: int) -> bytes:
        """Return a frame of the first ones, at least one, within ``max_bytes`` unless a single one is larger."""
        taken: list[tuple[str, int, bytes]] = []
        size = 0
        while self._waiting:
            delivery = self._waiting[0]
            size += len(delivery.body) + _OVERHEAD
            if taken and size > max_bytes:
                break
            self._waiting.popleft()
            taken.append((self.prefix + delivery.delivery_id, delivery.attempt, delivery.body))
        return wire.deliver(self.name, taken)


class Sink(Protocol):
    """Where frames go."""

    @property
    def takes_more(self) -> bool:
        """What is sent now is sent soon, or never, as the client has gone."""
        ...

    async def room(self) -> None:
        """Return when it takes more."""
        ...

    def send_all(self, frames: Iterable[bytes]) -> None:
        """Send text frames without waiting; nothing when the client has gone."""
        ...


class Outbox:
    """Frames on their way out, sent at the end of the present turn of the event loop, those of one turn together.

    Nothing here waits but :meth:`room`, :meth:`flushed` and :meth:`run`. Deliveries are bounded by the credit of their
    subscriptions; of other frames ``overflowed`` is told when more than ``max_outbound_frames`` wait, and the rest is
    dropped, since the connection is to be closed.
    """

    def __init__(self, limits: Limits, sink: Sink, overflowed: Callable[[], None]) -> None:
        self._limits = limits
        self._sink = sink
        self._overflowed = overflowed
        self._queue: deque[bytes | Lot] = deque()
        self._soon = False
        self._stuck = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, frame: bytes) -> None:
        """Send a frame after those that wait already."""
        if len(self._queue) >= self._limits.max_outbound_frames:
            self._overflowed()
            return
        self._append(frame)

    def put_lot(self, lot: Lot) -> None:
        """Send what waits in ``lot``, unless its turn is set already."""
        if len(lot) and not lot.queued and not lot.held:
            lot.queued = True
            self._append(lot)

    @property
    def has_room(self) -> bool:
        """Few enough frames wait that another may be asked for."""
        return self._room.is_set()

    async def room(self) -> None:
        """Return when few enough frames wait that another may be asked for."""
        await self._room.wait()

    async def flushed(self) -> None:
        """Return when nothing waits."""
        await self._empty.wait()

    async def run(self) -> None:
        """Go on sending to a client that reads slowly, until cancelled."""
        while True:
            await self._stuck.wait()
            await self._sink.room()
            self._stuck.clear()
            self._flush()

    def _append(self, item: bytes | Lot) -> None:
        self._queue.append(item)
        self._empty.clear()
        if len(self._queue) >= self._limits.max_waiting_frames:
            self._room.clear()
        if not (self._soon or self._stuck.is_set()):
            self._soon = True
            asyncio.get_running_loop().call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._soon = False
        self._flush()

    def _flush(self) -> None:
        while self._queue and self._sink.takes_more:
            self._sink.send_all(self._next_frames())
            if len(self._queue) < self._limits.max_waiting_frames:
                self._room.set()
        if self._queue:
            self._stuck.set()
        else:
            self._empty.set()

    def _next_frames(self) -> list[bytes]:
        frames: list[bytes] = []
        size = 0
        while self._queue and size < TOGETHER_BYTES:
            frame = self._next()
            if frame is not None:
                frames.append(frame)
                size += len(frame)
        return frames

    def _next(self) -> bytes | None:
        item = self._queue.popleft()
        if isinstance(item, bytes):
            return item
        item.queued = False
        if not len(item):
            return None
        frame = item.take(self._limits.max_frame_bytes)
        # The rest goes to the end, so that one full subscription does not hold up the others.
        if len(item):
            item.queued = True
            self._queue.append(item)
        return frame
