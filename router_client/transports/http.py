"""The HTTP transport: publishes are POSTs, a subscription is pulled. For where WebSockets cannot go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from router_client.errors import (
    ClosedError,
    Conflict,
    ConnectionLost,
    EventRouterError,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
)
from router_client.options import ClientOptions
from router_client.reconnect import Reconnector
from router_client.spec import SubscriptionSpec
from router_client.transports.admission import Admission
from router_client.transports.http_calls import HttpCalls, HttpRecords
from router_client.transports.port import Channel, Delivered, Inbox, Outcome, Records, Settlement, read_outcome

PULL_WAIT_S = 20.0
MAX_PULL = 1000

_log = logging.getLogger(__name__)


class HttpTransport:
    """See Transport. Each call stands for itself; a lost one is made again until its time is up."""

    # Two POSTs on the way at once may overtake one another, and with them events of one key.
    ordered_batches = 1

    def __init__(self, url: str, options: ClientOptions) -> None:
        self._options = options
        self._calls = HttpCalls(url, options)
        self._channels: dict[str, HttpChannel] = {}
        self._closed = False
        self._admission = Admission(options)
        self.records: Records = HttpRecords(self._calls)

    async def start(self) -> None:
        """See Transport."""
        try:
            await self._calls.call("GET", "/healthz", timeout_s=self._options.connect_timeout_s)
        except EventRouterError:
            await self._calls.close()
            raise

    async def close(self) -> None:
        """See Transport."""
        self._closed = True
        if not await self._admission.ended(self._options.close_timeout_s):
            _log.warning("closed with publishes unanswered")
        for channel in list(self._channels.values()):
            await channel.close()
            channel.inbox.ended(ClosedError("the client is closed"))
        await self._calls.close()

    async def publish(self, bodies: Sequence[bytes], ack: str) -> list[Outcome]:
        """See Transport."""
        if self._closed:
            raise ClosedError("the client is closed")
        body = b"[" + b",".join(bodies) + b"]"
        outcomes: list[Outcome] = []

        async def attempt() -> None:
            answer = await self._calls.call("POST", "/v1/events", query={"ack": ack}, body=body)
            outcomes[:] = [read_outcome(result) for result in answer["results"]]

        async with self._admission.publish():
            await (attempt() if self._options.while_disconnected == "fail" else self._insist(attempt))
        return outcomes

    async def _insist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        async def noted() -> None:
            try:
                await attempt()
            except ConnectionLost:
                self._admission.connected = False
                raise
            except EventRouterError:
                self._admission.connected = True
                raise
            self._admission.connected = True

        await Reconnector(self._options.backoff, self._options.max_reconnect_s).run(noted)

    async def subscribe(self, spec: SubscriptionSpec, inbox: Inbox, credit: int) -> Channel:
        """See Transport. An ephemeral subscription needs a connection: InvalidInput."""
        if self._closed:
            raise ClosedError("the client is closed")
        if not spec.durable:
            raise InvalidInput("an ephemeral subscription needs a ws:// or memory:// client", field="durable")
        if spec.name in self._channels:
            raise Conflict(f"this client has the subscription {spec.name} open already", field="name")
        channel = HttpChannel(spec.name, self._calls, inbox, credit, self._options, self._channels)
        self._channels[spec.name] = channel
        try:
            body = orjson.dumps({key: value for key, value in spec.to_object().items() if key != "name"})
            await self._calls.call("PUT", channel.path, body=body)
        except BaseException:
            del self._channels[spec.name]
            raise
        channel.begin()
        return channel


class HttpChannel:
    """A subscription pulled for: one task asks for deliveries, another sends settlements, both under one roof."""

    def __init__(
        self,
        name: str,
        calls: HttpCalls,
        inbox: Inbox,
        credit: int,
        options: ClientOptions,
        siblings: dict[str, HttpChannel],
    ) -> None:
        self.path = f"/v1/subscriptions/{quote(name, safe='')}"
        self._name = name
        self._calls = calls
        self.inbox = inbox
        self._credit = credit
        self._options = options
        self._siblings = siblings
        self._reconnector = Reconnector(options.backoff, options.max_reconnect_s)
        self._unsent = Settlement()
        self._changed = asyncio.Event()
        self._to_send = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start to pull."""
        self._task = asyncio.create_task(self._run(), name=f"pull {self._name}")

    def settle(self, settlement: Settlement, credit: int) -> None:
        """See Channel."""
        self._credit += credit
        self._changed.set()
        self._unsent.add(settlement)
        self._sent.clear()
        self._to_send.set()

    async def close(self) -> None:
        """See Channel. What was pulled and not settled comes again after the ack timeout."""
        self._siblings.pop(self._name, None)
        if self._task is None:
            return
        task, self._task = self._task, None
        try:
            async with asyncio.timeout(self._options.close_timeout_s):
                await self._sent.wait()
        except TimeoutError:
            _log.warning("settlements of %s were not sent in time; those events come again", self._name)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_settlements())
                tasks.create_task(self._reconnector.run(self._pull_on))
        except* EventRouterError as group:
            self.inbox.ended(next(error for error in group.exceptions if isinstance(error, EventRouterError)))
            self._unsent = Settlement()
            self._sent.set()

    async def _pull_on(self) -> None:
        while True:
            while self._credit <= 0:
                self._changed.clear()
                await self._changed.wait()
            delivered = await self._pull(min(self._credit, MAX_PULL))
            self._credit -= len(delivered)
            self.inbox.push(delivered)

    async def _pull(self, most: int) -> list[Delivered]:
        body = orjson.dumps({"max": most, "wait_s": PULL_WAIT_S})
        limit = PULL_WAIT_S + self._options.request_timeout_s
        answer = await _or_lost(self._calls.call("POST", self.path + "/pull", body=body, timeout_s=limit))
        self._reconnector.succeeded()
        return [Delivered(d["delivery_id"], d["attempt"], d["event"]) for d in answer["deliveries"]]

    async def _send_settlements(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._unsent:
                settlement, self._unsent = self._unsent, Settlement()
                await self._send(orjson.dumps(settlement.to_object()))
            self._sent.set()

    async def _send(self, body: bytes) -> None:
        async def attempt() -> None:
            await _or_lost(self._calls.call("POST", self.path + "/settle", body=body))

        try:
            await Reconnector(self._options.backoff, self._options.request_timeout_s).run(attempt)
        except (ConnectionLost, NotFound) as error:
            _log.warning("a settlement of %s was lost (%s); those events come again", self._name, error.detail)


async def _or_lost(call: Awaitable[Any]) -> Any:
    """Take a router that is away or busy for a lost connection: the call is made again later."""
    try:
        return await call
    except ConnectionLost:
        raise
    except (Unavailable, Overloaded) as error:
        raise ConnectionLost(error.detail) from error
