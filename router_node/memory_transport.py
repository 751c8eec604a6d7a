"""``memory://``: the SDK's transport to a router inside the same process.

The SDK finds it through the entry point group ``event_router.transports`` and so never imports the engine.
``memory://`` is a router of the client's own; ``memory://name`` is one for all clients of that name in the process,
which lives while any of them is open. Nothing outlives it. Events pass through JSON, as on every other transport, so
that what works here works there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlsplit

import orjson

from router_client.errors import ClosedError, Conflict, ConnectionLost, EventRouterError
from router_client.options import ClientOptions
from router_client.spec import SubscriptionSpec
from router_client.transports.admission import Admission
from router_client.transports.port import Channel, Delivered, Inbox, Outcome, PublishResult, Records
from router_client.transports.port import Settlement as ClientSettlement
from router_client.wire import Failure
from router_node.contract import Attachment, Delivery, Nack, Published, Settlement
from router_node.memory_records import MemoryRecords
from router_node.node import Node, embedded


class MemoryTransport:
    """See Transport."""

    ordered_batches = 8
    records: Records

    def __init__(self, url: str, options: ClientOptions) -> None:
        self._name = urlsplit(url).netloc
        self._options = options
        self._host: _Host | None = None
        self._node: Node | None = None
        self._channels: dict[str, _Channel] = {}
        self._admission = Admission(options)

    async def start(self) -> None:
        """See Transport. Raises Conflict when the router of that name runs in another event loop."""
        self._host = _Host.of(self._name)
        try:
            self._node = await self._host.join()
        except BaseException:
            host, self._host = self._host, None
            await host.leave()
            raise
        self.records = MemoryRecords(self._node.management)

    async def close(self) -> None:
        """See Transport."""
        host, self._host, self._node = self._host, None, None
        if host is None:
            return
        try:
            await self._admission.ended(self._options.close_timeout_s)
            for channel in list(self._channels.values()):
                await channel.close()
                channel.ended(ClosedError("the client is closed"))
        finally:
            await host.leave()

    async def publish(self, bodies: Sequence[bytes], ack: str) -> list[Outcome]:
        """See Transport."""
        engine = self._running().engine
        async with self._admission.publish():
            results = await engine.publish([orjson.loads(body) for body in bodies], ack=ack)
        return [
            PublishResult(each.id, each.partition, each.duplicate) if isinstance(each, Published) else each
            for each in results
        ]

    async def subscribe(self, spec: SubscriptionSpec, inbox: Inbox, credit: int) -> Channel:
        """See Transport."""
        engine = self._running().engine
        if spec.name in self._channels:
            raise Conflict(f"this client has the subscription {spec.name} open already", field="name")
        channel = self._channels[spec.name] = _Channel(spec.name, inbox, self._channels)
        try:
            async with asyncio.timeout(self._options.request_timeout_s):
                channel.attachment = await engine.open(spec, channel, credit)
        except TimeoutError as error:
            raise ConnectionLost(f"the subscription {spec.name} was not confirmed in time") from error
        finally:
            if channel.attachment is None:
                self._channels.pop(spec.name, None)
        return channel

    def _running(self) -> Node:
        if self._node is None:
            raise ClosedError("the client is closed")
        return self._node


class _Channel:
    """A Channel to the client and a Consumer to the engine."""

    def __init__(self, name: str, inbox: Inbox, siblings: dict[str, _Channel]) -> None:
        self.attachment: Attachment | None = None
        self._name = name
        self._inbox = inbox
        self._siblings = siblings

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self._inbox.push([Delivered(d.delivery_id, d.attempt, orjson.loads(d.body)) for d in deliveries])

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self.attachment = None
        self._siblings.pop(self._name, None)
        self._inbox.ended(error)

    def settle(self, settlement: ClientSettlement, credit: int) -> None:
        """See Channel."""
        if self.attachment is not None:
            self.attachment.settle(
                Settlement(
                    settlement.ack,
                    [_nack(failure) for failure in settlement.nack],
                    [_nack(failure) for failure in settlement.reject],
                    settlement.extend,
                )
            )
            self.attachment.add_credit(credit)

    async def close(self) -> None:
        """See Channel."""
        attachment, self.attachment = self.attachment, None
        self._siblings.pop(self._name, None)
        if attachment is not None:
            attachment.detach()


def _nack(failure: Failure) -> Nack:
    return Nack(failure.delivery_id, failure.delay_s, failure.error)


class _Host:
    """One embedded router and how many clients use it.

    It runs in a task of its own: what a router opens must be closed by the task that opened it, and the client that
    leaves last need not be the one that came first.
    """

    _shared: ClassVar[dict[str, _Host]] = {}

    def __init__(self, name: str) -> None:
        self._name = name
        self._users = 0
        self._loop = asyncio.get_running_loop()
        self._node: asyncio.Future[Node] = self._loop.create_future()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"memory://{name}")

    @classmethod
    def of(cls, name: str) -> _Host:
        """Return the host of that name, a new one when there is none or the name is empty, with one user more."""
        host = cls._shared.get(name)
        if host is None:
            host = cls(name)
            if name:
                cls._shared[name] = host
        if host._loop is not asyncio.get_running_loop():
            raise Conflict(f"memory://{name} runs in another event loop of this process", field="url")
        host._users += 1
        return host

    async def join(self) -> Node:
        """Return the node once it runs. Raises what kept it from starting."""
        return await asyncio.shield(self._node)

    async def leave(self) -> None:
        """Give up one use; with the last one the router stops, and has stopped when this returns."""
        self._users -= 1
        if self._users:
            return
        self._shared.pop(self._name, None)
        self._stop.set()
        await asyncio.wait([self._task])
        if self._node.done() and self._node.exception() is None:
            self._task.result()

    async def _run(self) -> None:
        try:
            async with embedded() as node:
                self._node.set_result(node)
                await self._stop.wait()
        except Exception as error:
            if self._node.done():
                raise
            self._node.set_exception(error)
