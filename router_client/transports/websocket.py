"""The WebSocket transport: one connection, publishes pipelined by reference, and a new connection when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import orjson
from websockets.exceptions import ConnectionClosed

from router_client import wire
from router_client.errors import (
    ClosedError,
    Conflict,
    ConnectionLost,
    EventRouterError,
    Unavailable,
    from_problem,
)
from router_client.options import ClientOptions
from router_client.reconnect import Reconnector
from router_client.spec import SubscriptionSpec
from router_client.transports.admission import Admission
from router_client.transports.http_calls import HttpCalls, HttpRecords
from router_client.transports.port import Channel, Inbox, Outcome, Records, read_outcome
from router_client.transports.websocket_channel import WebSocketChannel
from router_client.transports.websocket_link import Link, dial, lost

PIPELINED = 32

Where = Callable[[], Awaitable[str]]

_log = logging.getLogger(__name__)


class _Publish(NamedTuple):
    frame: bytes
    answer: asyncio.Future[list[Outcome]]


class WebSocketTransport:
    """See Transport.

    One task owns the connection, with a reader and a writer below it. A publish stays here until it is answered: after
    a lost connection subscriptions are opened again first, and then unanswered publishes are sent again.
    ``where`` names the router for each new connection, in place of ``url``.
    """

    ordered_batches = PIPELINED

    def __init__(self, url: str, options: ClientOptions, where: Where | None = None) -> None:
        self._url = url
        self._where = where
        self._options = options
        self._calls = HttpCalls(_http(url), options)
        self.records: Records = HttpRecords(self._calls)
        self._reconnector = Reconnector(options.backoff, options.max_reconnect_s)
        self._refs = itertools.count(1)
        self._admission = Admission(options)
        self._publishes: dict[int, _Publish] = {}
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._channels: dict[str, WebSocketChannel] = {}
        self._link: Link | None = None
        self._fault: ConnectionLost | None = None
        self._outbox: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._moving = False
        self._over: EventRouterError | None = None
        self._owner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See Transport. Raises what the router answers to the greeting, such as a token it does not know."""
        self._connected(await self._dial())
        self._owner = asyncio.create_task(self._own(), name=f"connection to {self._url}")

    async def close(self) -> None:
        """See Transport."""
        owner, self._owner = self._owner, None
        self._over = self._over or ClosedError("the client is closed")
        if owner is None:
            return
        try:
            async with asyncio.timeout(self._options.close_timeout_s):
                await self._settled()
        except TimeoutError:
            _log.warning("closed with %d publishes unanswered", len(self._publishes))
        finally:
            owner.cancel()
            await asyncio.wait([owner])
            await self._calls.close()

    async def publish(self, bodies: Sequence[bytes], ack: str) -> list[Outcome]:
        """See Transport."""
        if self._over is not None:
            raise self._over
        async with self._admission.publish():
            if self._over is not None:
                raise self._over
            ref = next(self._refs)
            answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            frame = wire.publish(ref, bodies, ack)
            self._publishes[ref] = _Publish(frame, answer)
            try:
                if not self._moving:
                    self._send(frame)
                return await answer
            finally:
                self._publishes.pop(ref, None)
                if self._moving:
                    self._wake.set()

    async def subscribe(self, spec: SubscriptionSpec, inbox: Inbox, credit: int) -> Channel:
        """See Transport."""
        if self._over is not None:
            raise self._over
        if spec.name in self._channels:
            raise Conflict(f"this client has the subscription {spec.name} open already", field="name")
        channel = WebSocketChannel(
            spec,
            inbox,
            credit,
            ask=self._ask,
            send=self._send,
            forget=self._forget,
            reconnect=self._abort,
            close_timeout_s=self._options.close_timeout_s,
        )
        self._channels[spec.name] = channel
        try:
            async with asyncio.timeout(self._options.request_timeout_s):
                if self._link is not None:
                    channel.subscribe()
                await channel.opened
        except TimeoutError as error:
            await channel.close()
            raise ConnectionLost(f"the subscription {spec.name} was not confirmed in time") from error
        except asyncio.CancelledError:
            await channel.close()
            raise
        return channel

    def _abort(self) -> None:
        if self._link is not None:
            self._link.transport.abort()

    def _forget(self, name: str) -> None:
        self._channels.pop(name, None)

    # Sending: what is put into the outbox goes out in order, or is dropped with its connection.

    def _send(self, frame: bytes) -> None:
        if self._link is None:
            return
        if not self._outbox and self._link.takes_more:
            self._link.send_now(frame)
        else:
            self._outbox.append(frame)
            self._wake.set()
            self._quiet.clear()

    def _ask(self, frame: Callable[[int], bytes]) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._link is None:
            answer.set_exception(ConnectionLost("not connected"))
        else:
            ref = next(self._refs)
            self._asked[ref] = answer
            self._send(frame(ref))
        return answer

    async def _settled(self) -> None:
        """Return when every publish was answered and, on a connection, everything was sent."""
        if self._publishes:
            await asyncio.wait([publish.answer for publish in self._publishes.values()])
        if self._link is not None:
            await self._quiet.wait()

    # The connection's life, in the owner's task.

    async def _own(self) -> None:
        error: EventRouterError = ClosedError("the client is closed")
        try:
            await self._reconnector.run(self._session)
        except EventRouterError as reason:
            _log.error("gave up on %s: %s", self._url, reason.detail)
            error = reason
        except Exception:  # noqa: BLE001 - a fault of ours: whoever waits must hear of it all the same
            error = Unavailable("the client failed; its log says why")
            _log.exception("the connection to %s failed", self._url)
        finally:
            self._over = self._over or error
            for channel in list(self._channels.values()):
                channel.end(self._over)
            self._fail_publishes(self._over)

    async def _session(self) -> None:
        link = self._link
        if link is None:
            link = await self._dial()
            self._connected(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(link), name="reader")
                tasks.create_task(self._write(link), name="writer")
        except* ConnectionLost as group:
            raise group.exceptions[0] from None
        finally:
            self._disconnected()
            await link.close()

    async def _dial(self) -> Link:
        if self._where is not None:
            self._url = await self._where()
        parts = urlsplit(self._url)
        link = await dial(urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/v1/ws")), self._options)
        self._calls.turn_to(_http(self._url))
        return link

    def _connected(self, link: Link) -> None:
        self._link = link
        self._admission.connected = True
        self._fault = None
        link.take = self._heard
        self._moving = False
        if not self._channels:
            self._reconnector.succeeded()
        for channel in self._channels.values():
            channel.subscribe()
        for publish in self._publishes.values():
            self._send(publish.frame)
        self._wake.set()

    def _disconnected(self) -> None:
        self._link = None
        self._admission.connected = False
        self._outbox.clear()
        self._quiet.set()
        error = ConnectionLost("the connection was lost before the answer came")
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(error)
                # Nobody may be waiting any more, and that is no fault worth a message.
                answer.exception()
        for channel in self._channels.values():
            channel.lost()
        if self._options.while_disconnected == "fail":
            self._fail_publishes(error)

    def _fail_publishes(self, error: EventRouterError) -> None:
        for publish in self._publishes.values():
            if not publish.answer.done():
                publish.answer.set_exception(error)

    async def _write(self, link: Link) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await link.send(self._outbox.popleft(), text=True)
                self._quiet.set()
                # A draining node answers what it was sent and then closes; without such there is nothing to wait for.
                if self._moving and not self._publishes:
                    raise ConnectionLost("the node is draining")
        except ConnectionClosed as error:
            raise lost(error) from error

    async def _read(self, link: Link) -> None:
        """Wait for the end of the connection: what is a frame never gets here."""
        try:
            message = await link.recv(decode=False)
            raise ConnectionLost(f"the router sent what is not a frame: {message!r:.100}")
        except ConnectionClosed as error:
            raise self._fault or lost(error) from error

    def _heard(self, message: bytes) -> None:
        if self._fault is not None:
            return
        try:
            self._take(orjson.loads(message))
        except ConnectionLost as error:
            self._fault = error
        except (KeyError, TypeError, ValueError) as error:
            self._fault = ConnectionLost(f"the router sent what is not a frame: {error!r}")
        if self._fault is not None:
            self._abort()

    def _take(self, frame: dict[str, Any]) -> None:
        op, ref = frame.get("op"), frame.get("ref")
        if op == "deliver":
            channel = self._channels.get(frame["name"])
            if channel is not None:
                channel.deliver(frame["deliveries"])
        elif op == "published":
            publish = self._publishes.get(frame["ref"])
            if publish is not None and not publish.answer.done():
                publish.answer.set_result([read_outcome(result) for result in frame["results"]])
        elif op in ("subscribed", "unsubscribed"):
            self._reconnector.succeeded()
            answer = self._asked.pop(frame["ref"], None)
            if answer is not None and not answer.done():
                answer.set_result(None)
        elif op == "error":
            self._refused(ref, frame.get("name"), from_problem(frame["error"]))
        elif op == "draining":
            self._moving = True
            self._wake.set()
        elif op != "pong":
            _log.debug("ignored an unknown frame: %s", op)

    def _refused(self, ref: int | None, name: str | None, error: EventRouterError) -> None:
        publish = self._publishes.get(ref) if ref is not None else None
        answer = publish.answer if publish is not None else self._asked.pop(ref, None) if ref is not None else None
        if answer is not None:
            if not answer.done():
                answer.set_exception(error)
        elif isinstance(error, Unavailable) and name in self._channels:
            # The node has let go of it, not of us: on the next connection the subscription goes on.
            raise ConnectionLost(error.detail)
        elif name is not None and name in self._channels:
            self._channels[name].end(error)
        else:
            _log.info("the router reports: %s", error)


def _http(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme.replace('ws', 'http', 1)}://{parts.netloc}"
