"""One delivery in the hands of a subscriber, and the deliveries of one open subscription as an async iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Self

from router_client.errors import ClosedError, EventRouterError
from router_client.event import Event, from_trusted
from router_client.recent import RecentIds, delivered_id
from router_client.transports.port import Channel, Delivered, Settlement
from router_client.wire import Failure

FLUSH_AT = 100
MAX_ERROR_CHARS = 1000


class Delivery:
    """One event handed to this client. Settle it once: ack, nack or reject; what comes after the first does nothing.

    Settling queues a word to the router and returns at once; it is sent with others in the same turn of the event
    loop. When the connection is lost first, the event is delivered again.
    """

    __slots__ = ("_event", "_generation", "_of", "attempt", "delivery_id", "object", "settled")

    def __init__(self, delivered: Delivered, of: Deliveries, generation: int) -> None:
        self.delivery_id, self.attempt, self.object = delivered
        self.settled = False
        self._event: Event | None = None
        self._of = of
        self._generation = generation

    @property
    def event(self) -> Event:
        """The event, built on first use; ``object`` is the event object as it came."""
        if self._event is None:
            self._event = from_trusted(self.object)
        return self._event

    async def ack(self) -> None:
        """Say that the event is dealt with."""
        self.settle_ack()

    async def nack(self, error: str = "", *, delay_s: float | None = None) -> None:
        """Give the event back to be delivered again after ``delay_s``, by default as the retry policy says.

        At most 1000 characters of ``error`` are kept; a dead letter shows the last one.
        """
        self.settle_nack(error, delay_s)

    async def reject(self, error: str = "") -> None:
        """Give up the event: it becomes a dead letter now."""
        self.settle_reject(error)

    async def extend(self) -> None:
        """Ask for another whole ack timeout from now on; may be repeated."""
        if not self.settled:
            self._of.extend(self._generation, self.delivery_id)

    def settle_ack(self) -> None:
        """As ack, for code that runs on the event loop but is not a coroutine."""
        if not self.settled:
            self.settled = True
            self._of.acked(self._generation, self.delivery_id, delivered_id(self.object))

    def settle_nack(self, error: str = "", delay_s: float | None = None) -> None:
        """As nack, for code that runs on the event loop but is not a coroutine."""
        if not self.settled:
            self.settled = True
            self._of.failed(self._generation, Failure(self.delivery_id, delay_s, error[:MAX_ERROR_CHARS]))

    def settle_reject(self, error: str = "") -> None:
        """As reject, for code that runs on the event loop but is not a coroutine."""
        if not self.settled:
            self.settled = True
            self._of.rejected(self._generation, Failure(self.delivery_id, None, error[:MAX_ERROR_CHARS]))

    def __repr__(self) -> str:
        return f"<Delivery of {self.object['type']} {self.object['id']}, attempt {self.attempt}>"


class Deliveries:
    """The deliveries of one open subscription; an async iterator, and the Inbox its transport fills.

    It holds no more deliveries than the credit it was opened with. Iteration ends when it is closed, and raises the
    error that ended the subscription otherwise. Several tasks may iterate at once; each delivery goes to one of them.
    Cancelling a waiting ``anext`` loses nothing.
    """

    def __init__(self, name: str, recent: RecentIds | None = None) -> None:
        self.name = name
        self.duplicates = 0
        """Deliveries acked on the side, because this subscription had acked the same event lately."""
        self.reconnects = 0
        self._recent = recent
        self._ready: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._ended: EventRouterError | None = None
        self._channel: Channel | None = None
        self._generation = 0
        self._settlement = Settlement()
        self._credit = 0
        self._flush: asyncio.Handle | None = None
        self._streak = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        if not self._ready:
            await self._wait()
        self._streak += 1
        if self._streak >= FLUSH_AT:
            # A loop that never waits for anything would keep the reader and the heartbeat from their turn.
            self._streak = 0
            await asyncio.sleep(0)
            if not self._ready:
                await self._wait()
        return self._ready.popleft()

    async def batch(self, limit: int = 100) -> list[Delivery]:
        """Wait for a delivery and return it with those at hand, at most ``limit``; an empty list once closed.

        Raises the error that ended the subscription. Cancelling it loses nothing.
        """
        try:
            first = await anext(self)
        except StopAsyncIteration:
            return []
        return [first, *(self._ready.popleft() for _ in range(min(limit - 1, len(self._ready))))]

    async def _wait(self) -> None:
        self._streak = 0
        while not self._ready:
            if isinstance(self._ended, ClosedError):
                raise StopAsyncIteration
            if self._ended is not None:
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()

    # What the transport calls.

    def push(self, deliveries: Sequence[Delivered]) -> None:
        """See Inbox."""
        if self._ended is not None:
            return
        for delivered in deliveries:
            if self._recent is not None and delivered_id(delivered.event) in self._recent:
                self.duplicates += 1
                self.acked(self._generation, delivered.delivery_id, delivered_id(delivered.event))
            else:
                self._ready.append(Delivery(delivered, self, self._generation))
        if self._ready:
            self._arrived.set()

    def reset(self) -> None:
        """See Inbox."""
        self.reconnects += 1
        self._generation += 1
        self._ready.clear()
        self._settlement, self._credit = Settlement(), 0

    def ended(self, error: EventRouterError) -> None:
        """See Inbox."""
        if self._ended is None:
            self._ended = error
            self._ready.clear()
            self._arrived.set()

    # What the client and the deliveries call.

    def connect(self, channel: Channel) -> None:
        """Send settlements to ``channel`` from now on."""
        self._channel = channel

    async def close(self) -> None:
        """End iteration, send what is settled and stop taking deliveries; those not settled are delivered again."""
        self.ended(ClosedError("the subscription was closed"))
        self._send()
        if self._channel is not None:
            await self._channel.close()

    def acked(self, generation: int, delivery_id: str, event_id: str) -> None:
        """Take an ack. One of an earlier connection is only remembered: the event comes again, and is then acked."""
        if self._recent is not None:
            self._recent.add(event_id)
        if generation == self._generation:
            self._settlement.ack.append(delivery_id)
            self._settled()

    def failed(self, generation: int, failure: Failure) -> None:
        """Take a nack."""
        if generation == self._generation:
            self._settlement.nack.append(failure)
            self._settled()

    def rejected(self, generation: int, failure: Failure) -> None:
        """Take a rejection."""
        if generation == self._generation:
            self._settlement.reject.append(failure)
            self._settled()

    def extend(self, generation: int, delivery_id: str) -> None:
        """Take a request for more time."""
        if generation == self._generation:
            self._settlement.extend.append(delivery_id)
            self._schedule()

    def _settled(self) -> None:
        self._credit += 1
        if self._credit >= FLUSH_AT:
            self._send()
        else:
            self._schedule()

    def _schedule(self) -> None:
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._channel is not None and len(self._settlement):
            settlement, credit = self._settlement, self._credit
            self._settlement, self._credit = Settlement(), 0
            self._channel.settle(settlement, credit)
