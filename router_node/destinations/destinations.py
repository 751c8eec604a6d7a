"""The webhooks of a node: one for each subscription that has such a destination, as subscriptions come, change and go.

Every node calls every webhook, for the partitions it owns; the bounds of an endpoint are divided among the nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.destinations.addresses import Addresses
from router_node.destinations.webhook import Counts, Webhook
from router_node.destinations.webhook_call import Caller, calling
from router_node.routing.registry import Registry

REFRESH_S = 1.0
DRAIN_S = 3.0

log = structlog.get_logger(__name__)


class Destinations:
    """Follows the registry while :meth:`serving`. ``pause`` pauses a subscription on all nodes, with a reason."""

    def __init__(
        self, registry: Registry, clock: Clock, addresses: Addresses, pause: Callable[[str, str], Awaitable[object]]
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._addresses = addresses
        self._pause = pause
        self._webhooks: dict[str, Webhook] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._caller: Caller | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self.counts = Counts()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Call webhooks while the block runs; then let calls under way end, for ``DRAIN_S`` at most."""
        async with calling(self._addresses) as caller, asyncio.TaskGroup() as tasks:
            self._caller, self._tasks = caller, tasks
            self._registry.changed = self._changed
            refreshing = tasks.create_task(self._refresh(), name="webhooks")
            for spec in self._registry.specs():
                self._changed(spec.name)
            try:
                yield
            finally:
                self._registry.changed = lambda _: None
                refreshing.cancel()
                for webhook in self._webhooks.values():
                    webhook.stop()
                self._webhooks.clear()
                if self._calls:
                    await asyncio.wait(self._calls, timeout=DRAIN_S)
                for call in self._calls:
                    call.cancel()

    def _changed(self, name: str) -> None:
        """A subscription was made, changed or removed."""
        spec = self._registry.spec(name) if name in self._registry else None
        wanted = spec is not None and spec.destination["kind"] == "webhook"
        there = self._webhooks.get(name)
        if there is not None and wanted and spec is not None:
            there.change(spec)
        elif there is not None:
            self._webhooks.pop(name).stop()
        elif wanted and spec is not None and self._caller is not None:
            dispatch = self._registry.get(name)
            webhook = Webhook(
                spec, self._caller, self._clock, self.counts, lambda: dispatch.sharers, self._spawn, self._gone
            )
            self._webhooks[name] = webhook
            webhook.begin(dispatch.attach(webhook, 0))

    async def _refresh(self) -> None:
        """Now and then look at what changes without a word: how many nodes share."""
        while True:
            await asyncio.sleep(REFRESH_S)
            for webhook in list(self._webhooks.values()):
                webhook.refresh()

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            call.close()
            return
        task = self._tasks.create_task(call, name="webhook call")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _gone(self, spec: SubscriptionSpec, reason: str) -> bool:
        """Pause the subscription of an endpoint that wants no more; False when it has another by now, or cannot be."""
        there = self._registry.spec(spec.name) if spec.name in self._registry else None
        if there is None or there.destination != spec.destination:
            return False
        if there.paused:
            return True
        log.warning("a webhook wants no more events; its subscription is paused", subscription=spec.name, reason=reason)
        try:
            await self._pause(spec.name, reason)
        except EventRouterError as error:
            log.error("the subscription could not be paused; trying again", subscription=spec.name, error=str(error))
            return False
        return True
