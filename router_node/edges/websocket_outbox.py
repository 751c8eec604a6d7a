"""What waits to be sent on one connection: bounded, in order, deliveries encoded only when it is their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from router_client import wire
from router_node.contract import Delivery
from router_node.edges.limits import Limits

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


class Outbox:
    """Frames on their way out. Nothing here waits but :meth:`room`, :meth:`flushed` and :meth:`run`.

    Deliveries are bounded by the credit of their subscriptions; of other frames ``overflowed`` is told when more than
    ``max_outbound_frames`` wait, and the rest is dropped, since the connection is to be closed.
    """

    def __init__(self, limits: Limits, overflowed: Callable[[], None]) -> None:
        self._limits = limits
        self._overflowed = overflowed
        self._queue: deque[bytes | Lot] = deque()
        self._more = asyncio.Event()
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

    async def room(self) -> None:
        """Return when few enough frames wait that another may be asked for."""
        await self._room.wait()

    async def flushed(self) -> None:
        """Return when nothing waits."""
        await self._empty.wait()

    async def run(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send until cancelled; raises what ``send`` raises."""
        while True:
            while self._queue:
                frame = self._next()
                if frame is not None:
                    await send(frame.decode())
                if len(self._queue) < self._limits.max_waiting_frames:
                    self._room.set()
            self._empty.set()
            self._more.clear()
            await self._more.wait()

    def _append(self, item: bytes | Lot) -> None:
        self._queue.append(item)
        self._more.set()
        self._empty.clear()
        if len(self._queue) >= self._limits.max_waiting_frames:
            self._room.clear()

    def _next(self) -> bytes | None:
        item = self._queue.popleft()
        if isinstance(item, bytes):
            return item
        item.queued = False
        if not len(item):
            return None
        frame = item.take(self._limits.max_frame_bytes)
        # The rest goes to the end, so that one full subscription does not hold up the others.
        self.put_lot(item)
        return frame
