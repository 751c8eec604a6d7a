"""The destinations of a node: a webhook or a Kafka topic for each subscription that has one, as subscriptions come,
change and go.

Every node serves every destination, for the partitions it owns; the bounds of one are divided among the nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.destinations.addresses import Addresses
from router_node.destinations.kafka import KafkaTopic, Send
from router_node.destinations.outlet import Outlet, Tally
from router_node.destinations.webhook import Counts, Webhook
from router_node.destinations.webhook_call import Caller, calling
from router_node.routing.registry import Registry

REFRESH_S = 1.0
DRAIN_S = 3.0

log = structlog.get_logger(__name__)


class Destinations:
    """Follows the registry while :meth:`serving`.

    ``webhook_networks`` are private networks that webhooks may be in, ``pause`` pauses a subscription on all nodes,
    with a reason, and ``send_to_kafka`` sends a record.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        webhook_networks: Sequence[str],
        pause: Callable[[str, str], Awaitable[object]],
        send_to_kafka: Send,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._addresses = Addresses(webhook_networks)
        self._pause = pause
        self._send_to_kafka = send_to_kafka
        self._kinds: dict[str, str] = {}  # of what is there
        self._there: dict[str, Outlet] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._caller: Caller | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self.counts = Counts()
        self.kafka_counts = Tally()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve destinations while the block runs; then let calls under way end, for ``DRAIN_S`` at most."""
        async with calling(self._addresses) as caller, asyncio.TaskGroup() as tasks:
            self._caller, self._tasks = caller, tasks
            self._registry.changed = self._changed
            refreshing = tasks.create_task(self._refresh(), name="destinations")
            for spec in self._registry.specs():
                self._changed(spec.name)
            try:
                yield
            finally:
                self._registry.changed = lambda _: None
                refreshing.cancel()
                for destination in self._there.values():
                    destination.stop()
                self._there.clear()
                if self._calls:
                    await asyncio.wait(self._calls, timeout=DRAIN_S)
                for call in self._calls:
                    call.cancel()

    def _changed(self, name: str) -> None:
        """A subscription was made, changed or removed."""
        spec = self._registry.spec(name) if name in self._registry else None
        kind = "consumer" if spec is None else spec.destination["kind"]
        there = self._there.get(name)
        if there is not None and self._kinds[name] != kind:
            self._there.pop(name).stop()
            there = None
        if spec is None or kind == "consumer":
            return
        if there is not None:
            there.change(spec)
        elif self._caller is not None:
            dispatch = self._registry.get(name)
            there = self._there[name] = self._made(spec, self._caller, lambda: dispatch.sharers)
            self._kinds[name] = kind
            there.begin(dispatch.attach(there, 0))

    def _made(self, spec: SubscriptionSpec, caller: Caller, share: Callable[[], int]) -> Outlet:
        if spec.destination["kind"] == "kafka":
            return KafkaTopic(spec, self._send_to_kafka, self._clock, self.kafka_counts, share, self._spawn)
        return Webhook(spec, caller, self._clock, self.counts, share, self._spawn, self._gone)

    async def _refresh(self) -> None:
        """Now and then look at what changes without a word: how many nodes share."""
        while True:
            await asyncio.sleep(REFRESH_S)
            for destination in list(self._there.values()):
                destination.refresh()

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            call.close()
            return
        task = self._tasks.create_task(call, name="delivery to a destination")
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
