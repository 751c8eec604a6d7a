"""The facade: everything an application does with a router begins at EventRouterClient."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Self

from router_client.delivery import Deliveries
from router_client.errors import ClosedError, EventRouterError, InvalidInput
from router_client.event import DEFAULT_PRIORITY, Event
from router_client.handlers import Handler, HandlerFunction, run_handlers
from router_client.history import History
from router_client.options import ClientOptions
from router_client.publishing import Publishable, Publisher, encode
from router_client.recent import RecentIds
from router_client.spec import SubscriptionSpec
from router_client.subscription import DEFAULT_CREDIT, Consumption, SubscriptionBuilder
from router_client.transports.by_url import transport_for
from router_client.transports.port import Outcome, PublishResult, Transport

DEFAULT_BATCH = 100


class EventRouterClient:
    """A connection to a router, open for the length of an ``async with`` in one event loop.

    ``url`` chooses the transport: ``ws://`` or ``wss://`` (the fastest), ``http://`` or ``https://`` (pulls), and
    ``memory://`` (a router inside this process; ``memory://name`` is shared by the clients of one event loop).
    ``token`` is short for the option of that name. Entering raises ConnectionLost when the router cannot be reached;
    leaving sends what is queued, within the option ``close_timeout_s``, and leaves no task behind.

    >>> async with EventRouterClient("ws://localhost:8080") as client:
    ...     await client.publish("orders.created", {"amount": 120}, correlation_id="order-7", priority=7)
    """

    def __init__(self, url: str, *, token: str | None = None, options: ClientOptions | None = None) -> None:
        options = options or ClientOptions()
        if token is not None:
            options = replace(options, token=token)
        self.url = url
        self.options = options
        self._transport: Transport | None = None
        self._publisher: Publisher | None = None
        self._handlers: list[Handler] = []
        self._recent: dict[str, RecentIds] = {}

    async def __aenter__(self) -> Self:
        transport = transport_for(self.url, self.options)
        await transport.start()
        self._transport = transport
        self._publisher = Publisher(transport, self.options.retry_overloaded_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            await transport.close()

    async def publish(
        self,
        type: str,  # noqa: A002 - the event's own word
        payload: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the event's own word
        correlation_id: str | None = None,
        priority: int = DEFAULT_PRIORITY,
        source: str = "",
        target: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
        deliver_at: datetime | None = None,
        expires_at: datetime | None = None,
        ack: str = "accepted",
    ) -> PublishResult:
        """Publish one event and return once it is as safe as ``ack`` asks.

        ``accepted`` means in the log, ``replicated`` on replicas too, ``stored`` in the database.
        It is delivered at ``deliver_at`` (at most 30 days ahead) if given, and not after ``expires_at``.
        Raises InvalidInput or TooLarge for an event the router refuses, Overloaded when it has no room now,
        Unavailable, and ConnectionLost when no answer came in time: publishing again with the same ``id`` is then safe.
        Cancelling it is safe too; the event may or may not have been accepted.
        """
        given = {"id": id, "correlation_id": correlation_id, "timestamp": timestamp}
        event = Event(
            type=type,
            payload=payload or {},
            priority=priority,
            source=source,
            target=target,
            metadata=metadata or {},
            deliver_at=deliver_at,
            expires_at=expires_at,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )
        return await self.publish_event(event, ack=ack)

    async def publish_event(self, event: Publishable, *, ack: str = "accepted") -> PublishResult:
        """Publish an Event, or an event object (a dict); otherwise as :meth:`publish`."""
        outcome = await self._publishing().one(encode(event), ack)
        if isinstance(outcome, EventRouterError):
            raise outcome
        return outcome

    async def publish_many(
        self,
        events: Iterable[Publishable] | AsyncIterable[Publishable],
        *,
        batch: int = DEFAULT_BATCH,
        ack: str = "accepted",
    ) -> list[Outcome]:
        """Publish events in batches of up to ``batch`` (at most 1000) and return one outcome each, in order.

        An outcome is a PublishResult, or the EventRouterError of that event; none is raised. Events of one key keep
        their order, except those tried again after an overload. Cancelling it is safe: what was sent may or may not
        have been accepted.
        """
        return [outcome async for outcome in self.publish_stream(events, batch=batch, ack=ack)]

    async def publish_stream(
        self,
        events: Iterable[Publishable] | AsyncIterable[Publishable],
        *,
        batch: int = DEFAULT_BATCH,
        ack: str = "accepted",
    ) -> AsyncGenerator[Outcome, None]:
        """As :meth:`publish_many`, yielding the outcomes as they come, for streams too long for a list."""
        async with aclosing(self._publishing().many(events, batch=batch, ack=ack)) as batches:
            async for outcomes in batches:
                for outcome in outcomes:
                    yield outcome

    def subscription(self, name: str | None = None) -> SubscriptionBuilder:
        """Begin to build a subscription; without a name it is ephemeral: a live tail that ends with its consumer."""
        if name is not None:
            return SubscriptionBuilder(name, self._opened)
        return SubscriptionBuilder(f"tail-{secrets.token_hex(8)}", self._opened).ephemeral()

    def subscribe(
        self,
        *topics: str,
        name: str | None = None,
        where: Mapping[str, Any] | None = None,
        credit: int = DEFAULT_CREDIT,
    ) -> AbstractAsyncContextManager[Deliveries]:
        """Open a subscription with the usual settings, short for the builder; enter it with ``async with``."""
        return self._plain(topics, name, where).credit(credit).open()

    def on(
        self,
        *topics: str,
        name: str | None = None,
        where: Mapping[str, Any] | None = None,
        using: SubscriptionBuilder | None = None,
        concurrency: int = 10,
    ) -> Callable[[HandlerFunction], HandlerFunction]:
        """Register the decorated function for events of ``topics`` (or of the builder ``using``); see :meth:`run`.

        It is called with a Delivery, at most ``concurrency`` times at once. Returning acks the event, raising gives it
        back with the exception's text, and the function may settle it itself instead.
        """
        if concurrency < 1:
            raise InvalidInput("at least 1", field="concurrency")
        builder = using or self._plain(topics, name, where)
        builder = builder.credit(max(concurrency, builder.consumption.credit))

        def register(function: HandlerFunction) -> HandlerFunction:
            self._handlers.append(Handler(function, builder, concurrency))
            return function

        return register

    async def run(self) -> None:
        """Serve the registered handlers until cancelled.

        Raises the error that ended a subscription or kept one from opening. Cancelling it cancels the calls under way;
        their events are delivered again.
        """
        if not self._handlers:
            raise InvalidInput("no handler is registered; decorate one with @client.on(...)", field="handlers")
        await run_handlers(self._handlers)

    @property
    def history(self) -> History:
        """Stored events and dead letters."""
        return History(self._open_transport().records)

    def _plain(self, topics: tuple[str, ...], name: str | None, where: Mapping[str, Any] | None) -> SubscriptionBuilder:
        builder = self.subscription(name).topics(*topics)
        return builder if where is None else builder.where(where)

    @asynccontextmanager
    async def _opened(self, spec: SubscriptionSpec, consumption: Consumption) -> AsyncIterator[Deliveries]:
        deliveries = Deliveries(spec.name, self._remembered(spec, consumption))
        deliveries.connect(await self._open_transport().subscribe(spec, deliveries, consumption.credit))
        try:
            yield deliveries
        finally:
            await deliveries.close()

    def _remembered(self, spec: SubscriptionSpec, consumption: Consumption) -> RecentIds | None:
        if not consumption.remember:
            return None
        if not spec.durable:
            return RecentIds(consumption.remember, consumption.remember_s)
        # Kept for the client's life: an ack may be lost at the end of one opening and the event come in the next.
        return self._recent.setdefault(spec.name, RecentIds(consumption.remember, consumption.remember_s))

    def _open_transport(self) -> Transport:
        if self._transport is None:
            raise ClosedError("the client is not open; use it inside `async with`")
        return self._transport

    def _publishing(self) -> Publisher:
        self._open_transport()
        assert self._publisher is not None  # noqa: S101 - set together with the transport
        return self._publisher
