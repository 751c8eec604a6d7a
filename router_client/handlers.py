"""Functions that handle events: bounded concurrency, return means ack, an exception means nack with its text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from router_client.delivery import Deliveries, Delivery
from router_client.errors import EventRouterError
from router_client.subscription import SubscriptionBuilder

HandlerFunction = Callable[[Delivery], Awaitable[object]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handler:
    """A function, the subscription that feeds it, and how many of its calls may be under way at once."""

    function: HandlerFunction
    subscription: SubscriptionBuilder
    concurrency: int


async def run_handlers(handlers: Sequence[Handler]) -> None:
    """Open every handler's subscription and serve them until cancelled or until all subscriptions have ended.

    Raises the error that ended a subscription, or kept one from opening, after all other handlers have stopped.
    When it is cancelled, calls under way are cancelled and their events delivered again later.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            for handler in handlers:
                tasks.create_task(_serve(handler), name=f"handler {handler.subscription.name}")
    except* EventRouterError as group:
        raise _first(group) from None


async def _serve(handler: Handler) -> None:
    async with handler.subscription.open() as deliveries, asyncio.TaskGroup() as workers:
        for _ in range(handler.concurrency):
            workers.create_task(_work(deliveries, handler.function))


async def _work(deliveries: Deliveries, function: HandlerFunction) -> None:
    async for delivery in deliveries:
        try:
            await function(delivery)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, its event is given back
            _log.warning("the handler of %s failed", delivery, exc_info=True)
            await delivery.nack(f"{type(error).__name__}: {error}")
        else:
            await delivery.ack()


def _first(group: BaseExceptionGroup[EventRouterError]) -> EventRouterError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
