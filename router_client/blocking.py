"""The client for code without an event loop: the same one, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

from router_client.client import DEFAULT_BATCH, EventRouterClient
from router_client.delivery import Deliveries, Delivery
from router_client.errors import ClosedError
from router_client.event import Event
from router_client.options import ClientOptions
from router_client.publishing import Publishable
from router_client.subscription import SubscriptionBuilder
from router_client.transports.port import Outcome, PublishResult

T = TypeVar("T")


class BlockingClient:
    """As EventRouterClient, with calls that block; safe to use from several threads at once.

    >>> with BlockingClient("ws://localhost:8080") as client:
    ...     client.publish("orders.created", {"amount": 120})
    ...     with client.subscribe("orders.*", name="audit") as deliveries:
    ...         for delivery in deliveries:
    ...             delivery.ack()
    """

    def __init__(self, url: str, *, token: str | None = None, options: ClientOptions | None = None) -> None:
        self._client = EventRouterClient(url, token=token, options=options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: set[BlockingDeliveries] = set()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event-router client", daemon=True)
        self._thread.start()
        try:
            self.call(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for deliveries in list(self._open):
                deliveries.close()
            self.call(self._client.__aexit__(None, None, None))
        finally:
            self._stop()

    def publish(self, type: str, payload: Mapping[str, Any] | None = None, **event: Any) -> PublishResult:  # noqa: A002
        """See EventRouterClient.publish."""
        return self.call(self._client.publish(type, payload, **event))

    def publish_many(
        self, events: Iterable[Publishable], *, batch: int = DEFAULT_BATCH, ack: str = "accepted"
    ) -> list[Outcome]:
        """See EventRouterClient.publish_many. The iterable is read in the client's thread."""
        return self.call(self._client.publish_many(events, batch=batch, ack=ack))

    def subscription(self, name: str | None = None) -> SubscriptionBuilder:
        """Begin to build a subscription; pass the builder to :meth:`open`."""
        return self._client.subscription(name)

    def open(self, subscription: SubscriptionBuilder) -> BlockingDeliveries:
        """Create or change the subscription and consume it; see SubscriptionBuilder.open."""
        return self._deliveries(subscription.open())

    def subscribe(self, *topics: str, **settings: Any) -> BlockingDeliveries:
        """See EventRouterClient.subscribe. Iterate at once, or use ``with`` to end it before the client."""
        return self._deliveries(self._client.subscribe(*topics, **settings))

    def event(self, event_id: str) -> Event:
        """See History.event."""
        return self.call(self._client.history.event(event_id))

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the client in its loop and return what it returns.

        Interrupted (KeyboardInterrupt), it cancels the coroutine. Raises ClosedError outside ``with``.
        """
        if self._loop is None:
            coroutine.close()
            raise ClosedError("the client is not open; use it inside `with`")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call_soon(self, action: Callable[..., None], *arguments: Any) -> None:
        """Have ``action`` called in the client's loop, without waiting for it. Raises ClosedError outside ``with``."""
        if self._loop is None:
            raise ClosedError("the client is closed; the event will be delivered again")
        self._loop.call_soon_threadsafe(action, *arguments)

    def forget(self, deliveries: BlockingDeliveries) -> None:
        """Let go of deliveries that were closed."""
        self._open.discard(deliveries)

    def _deliveries(self, opening: AbstractAsyncContextManager[Deliveries]) -> BlockingDeliveries:
        deliveries = BlockingDeliveries(self, opening, self.call(opening.__aenter__()))
        self._open.add(deliveries)
        return deliveries

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class BlockingDeliveries:
    """The deliveries of one open subscription, for a ``for`` loop. One thread iterates; any thread may settle."""

    def __init__(
        self, client: BlockingClient, opening: AbstractAsyncContextManager[Deliveries], deliveries: Deliveries
    ) -> None:
        self._client = client
        self._opening = opening
        self._deliveries = deliveries
        self._ready: deque[Delivery] = deque()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BlockingDelivery:
        if self._closed:
            raise StopIteration
        if not self._ready:
            # One hop between the threads fetches all that is there.
            self._ready.extend(self._client.call(self._deliveries.batch()))
        if not self._ready:
            raise StopIteration
        return BlockingDelivery(self._client, self._ready.popleft())

    def close(self) -> None:
        """Send every ack and stop taking deliveries; those not settled come again. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._client.forget(self)
            self._client.call(self._closing())

    async def _closing(self) -> None:
        await self._opening.__aexit__(None, None, None)


class BlockingDelivery:
    """As Delivery, with methods that return at once; settlements are sent by the client's thread."""

    def __init__(self, client: BlockingClient, delivery: Delivery) -> None:
        self._client = client
        self._delivery = delivery
        self.event: Event = delivery.event
        self.attempt: int = delivery.attempt

    def ack(self) -> None:
        """See Delivery.ack. Raises ClosedError when the client is closed."""
        self._client.call_soon(self._delivery.settle_ack)

    def nack(self, error: str = "", *, delay_s: float | None = None) -> None:
        """See Delivery.nack. Raises ClosedError when the client is closed."""
        self._client.call_soon(self._delivery.settle_nack, error, delay_s)

    def reject(self, error: str = "") -> None:
        """See Delivery.reject. Raises ClosedError when the client is closed."""
        self._client.call_soon(self._delivery.settle_reject, error)

    def extend(self) -> None:
        """See Delivery.extend."""
        self._client.call(self._delivery.extend())
