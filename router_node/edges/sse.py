"""Server-sent events: a live tail over plain HTTP (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A stream is an ephemeral subscription of its own. It gets what is published while it is open; a reader that is slower
misses events by the overflow policy it chose, and one that reads nothing for ``stall_s`` is cut off.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import orjson
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router_client.errors import EventRouterError, InvalidInput
from router_client.json_input import loads
from router_client.spec import SubscriptionSpec
from router_node.contract import Attachment, Delivery, Engine, Settlement
from router_node.edges.bodies import integer
from router_node.edges.conduct import Client, Fault
from router_node.edges.door import access_of
from router_node.edges.lasting import Lasting
from router_node.edges.limits import Limits
from router_node.edges.standing import no_longer_within
from router_node.security.permission import check_topics

CREDIT = 100
HEARTBEAT = b": \n\n"
PORTION_BYTES = 64 * 1024
"""What is sent in one go, unless one event is larger: a client that reads this much in ``stall_s`` is not stalled."""
ACK_TIMEOUT_S = 43_200.0
"""No event comes twice because its reader is slow: readers are bounded by ``stall_s``, not by this."""
RETRY_MS = 2000
PARAMETERS = ("topic", "filter", "buffer", "overflow")


class StreamRoutes:
    """Handler of GET /v1/stream."""

    def __init__(self, engine: Engine, lasting: Lasting, limits: Limits) -> None:
        self._engine = engine
        self._lasting = lasting
        self._limits = limits

    async def stream(self, request: Request) -> Response:
        """Open a stream; what is wrong with the request is answered before it begins."""
        access = access_of(request)
        spec = _spec(request.query_params)
        check_topics(access, spec.topics, "topic")
        stream = EventStream(self._limits, self._lasting.conduct.client(request.client))

        def look() -> None:
            error = no_longer_within(access, spec.topics)
            if error is not None:
                stream.dismiss(error)

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._lasting.admitted(access, stream.drain, look))
            stream.attached = await self._engine.open(spec, stream, CREDIT)
            stream.closing = stack.pop_all()
        return stream


class EventStream(Response):
    """The answer that lasts; a consumer of its subscription until the client goes or the node stops."""

    def __init__(self, limits: Limits, client: Client) -> None:
        self._client = client
        self.status_code = 200
        self.background = None
        self.attached: Attachment | None = None
        self.closing = AsyncExitStack()
        self._limits = limits
        self._waiting: deque[Delivery] = deque()
        self._stirred = asyncio.Event()
        self._last_word = b""
        self._gone = False

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self._waiting += deliveries
        self._stirred.set()

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self._end(_message({"event": "error", "data": orjson.dumps({"code": error.code, "detail": error.detail})}))

    def dismiss(self, error: EventRouterError) -> None:
        """End, as its client may see no more, not even what waits."""
        self._waiting.clear()
        self.ended(error)

    def drain(self) -> None:
        """End: the node stops. The client comes back by itself, to another node."""
        self._end(_message({"event": "draining", "data": b"{}"}))

    def _end(self, last_word: bytes) -> None:
        self._last_word = self._last_word or last_word
        self._stirred.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until it ends."""
        async with self.closing:
            try:
                async with asyncio.TaskGroup() as tasks:
                    leaving = tasks.create_task(self._client_leaves(receive))
                    try:
                        await self._run(send)
                    except TimeoutError:
                        # An answer left unfinished is broken off by the server, which is all there is to do.
                        self._client.did(Fault.SLOW_READERS, f"a stream; nothing read for {self._limits.stall_s:g} s")
                    finally:
                        leaving.cancel()
            finally:
                if self.attached is not None:
                    self.attached.detach(requeue=False)

    async def _run(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send(send, b"retry: %d\n\n" % RETRY_MS)
        while not (self._gone or (self._last_word and not self._waiting)):
            await self._wait()
            if not self._waiting:
                await self._send(send, HEARTBEAT)
                continue
            while self._waiting and not self._gone:
                await self._send_portion(send)
        if not self._gone:
            await self._send(send, self._last_word)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_portion(self, send: Send) -> None:
        taken = [self._waiting.popleft()]
        size = len(taken[0].body)
        while self._waiting and size + len(self._waiting[0].body) <= PORTION_BYTES:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].body)
        await self._send(send, b"".join(map(_event, taken)))
        if self.attached is not None:
            self.attached.settle(Settlement(ack=[delivery.delivery_id for delivery in taken]))
            self.attached.add_credit(len(taken))

    async def _send(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self._limits.stall_s):
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _wait(self) -> None:
        """Return when there is something to send, or it is time for a sign of life."""
        try:
            async with asyncio.timeout(self._limits.heartbeat_s):
                await self._stirred.wait()
        except TimeoutError:
            return
        self._stirred.clear()

    async def _client_leaves(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._stirred.set()


def _spec(parameters: ImmutableMultiDict[str, str]) -> SubscriptionSpec:
    for name, count in ((name, len(parameters.getlist(name))) for name in parameters):
        if name not in PARAMETERS:
            raise InvalidInput("unknown parameter", field=name)
        if count > 1 and name != "topic":
            raise InvalidInput("is given more than once", field=name)
    topics = parameters.getlist("topic")
    if not topics:
        raise InvalidInput("is required, for example /v1/stream?topic=orders.*", field="topic")
    body: dict[str, Any] = {"topics": topics, "durable": False, "ack_timeout_s": ACK_TIMEOUT_S}
    body["overflow"] = parameters.get("overflow", "drop_oldest")
    body["buffer"] = integer({k: v for k, v in parameters.items() if k == "buffer"}, "buffer", 1, 10_000, 1000)
    if body["overflow"] == "block":
        raise InvalidInput("one of drop_oldest, drop_newest", field="overflow")
    if "filter" in parameters:
        body["filter"] = loads(parameters["filter"], "filter")
    try:
        return SubscriptionSpec.from_object(f"stream-{secrets.token_hex(8)}", body)
    except InvalidInput as error:
        field = (error.field or "").replace("topics", "topic", 1)
        raise InvalidInput(error.detail, field=field) from error


def _event(delivery: Delivery) -> bytes:
    event = orjson.loads(delivery.body)
    return _message({"id": event["id"], "event": event["type"], "data": orjson.dumps(event)})


def _message(fields: Mapping[str, str | bytes]) -> bytes:
    lines = (
        name.encode() + b": " + (text if isinstance(text, bytes) else text.encode()) for name, text in fields.items()
    )
    return b"\n".join(lines) + b"\n\n"
