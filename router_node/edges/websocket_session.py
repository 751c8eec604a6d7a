"""One WebSocket conversation: frames in, answers and deliveries out. Apart from the socket, see websocket.py."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol, assert_never

from router_client import wire
from router_client.errors import (
    EventRouterError,
    Forbidden,
    InvalidInput,
    Overloaded,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from router_node.contract import Engine, Results
from router_node.edges.conduct import Client, Fault
from router_node.edges.limits import Limits
from router_node.edges.problems import result_object, unexpected
from router_node.edges.websocket_outbox import Outbox, Sink
from router_node.edges.websocket_subscriptions import OpenSubscriptions
from router_node.security.gate import NOBODY, OPEN, Access
from router_node.security.permit import Permit
from router_node.security.rates import Rates
from router_node.security.seats import Seats

SOCKET = "event_router.socket"
"""The name under which a connection's Socket stands among the extensions of its ASGI scope."""


class Closing(NamedTuple):
    """How a connection is to be closed: a WebSocket close code and a reason."""

    code: int
    reason: str


NO_HELLO = Closing(1008, "the first frame must be a hello")
NONSENSE = Closing(4009, "too many frames that make no sense")
UNAUTHENTICATED = Closing(4401, "no valid credentials, or no longer")
NOT_NOW = Closing(1013, "credentials cannot be checked now; try again later")
SLOW_READER = Closing(4008, "slow reader: too many frames wait to be read")
GOING_AWAY = Closing(1001, "the node is stopping")


class Identity(NamedTuple):
    """What a node tells of itself."""

    node: str
    cluster: str


class Socket(Sink, Protocol):
    """The connection, as a session sees it."""

    hear: Callable[[str | None], None] | None
    """Who is handed messages as they come, None for one that is not text."""

    def pause(self) -> None:
        """Read no more for now; what was read at once with the present message is still heard."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Entrance(NamedTuple):
    """How a session learns whose it is, and what bounds it: ``admit`` takes the token of its hello, if any.

    It raises Unauthenticated, and Unavailable while that cannot be known.
    """

    admit: Callable[[str | None], Awaitable[Access]]
    rates: Rates
    seats: Seats


class Session:
    """See the module.

    Frames are handled in the order they come, and most as they come, by no task that has to wake. One that must wait
    for something, and all behind it, are held for the reader, and meanwhile nothing more is read. Publishes are handed
    to the engine in that order too, and answered as they are done, each by its ref.
    """

    def __init__(
        self, engine: Engine, identity: Identity, limits: Limits, client: Client, socket: Socket, entrance: Entrance
    ) -> None:
        self._entrance = entrance
        self._rates = entrance.rates
        self._access: Access = NOBODY
        self._leave_seat: Callable[[], None] = lambda: None
        self._client = client
        self._engine = engine
        self._identity = identity
        self._limits = limits
        self._socket = socket
        self._outbox = Outbox(limits, socket, lambda: self._end(SLOW_READER))
        self._held: deque[str | wire.Subscribe | None] = deque()
        self._held_up = True  # until it has been greeted
        self._more = asyncio.Event()
        self._gone = self._over = False
        self._publishing = 0
        self._publish_ended = asyncio.Event()
        self._confirming: set[asyncio.Task[None]] = set()
        self._subscriptions = OpenSubscriptions(engine, limits, self._outbox, client)
        self._tasks = asyncio.TaskGroup()
        self._reading: asyncio.Task[None] | None = None
        self._closing: Closing | None = None

    def listen(self) -> None:
        """Take what the client sends from now on."""
        self._socket.hear = self._hear

    async def run(self, gone: Callable[[], Awaitable[None]]) -> Closing | None:
        """Converse until one side ends it; returns how to close the connection, None when the client has gone.

        ``gone`` returns when it has. Cancelling this, like every end, gives back what was delivered and not settled.
        """
        try:
            async with self._tasks as tasks:
                self._reading = tasks.create_task(self._read(), name="websocket reader")
                watching = tasks.create_task(self._watch(gone), name="websocket end")
                writing = tasks.create_task(self._outbox.run(), name="websocket writer")
                if self._closing is not None:
                    self._reading.cancel()
                await asyncio.wait([self._reading])
                if self._closing is not None and not self._gone:
                    await self._finish(self._closing)
                for task in (watching, writing, *self._confirming):
                    task.cancel()
        finally:
            self._over = True
            self._leave_seat()
            self._subscriptions.close()
        return self._closing

    def look(self) -> None:
        """End what the client's credential allows no longer: the session, or subscriptions of it."""
        if self._held_up and self._access is NOBODY:
            return  # not greeted yet
        try:
            _ = self._access.grants
        except Unauthenticated as error:
            self._end_unauthenticated(error)
            return
        self._subscriptions.look(self._access)

    def _end_unauthenticated(self, error: Unauthenticated) -> None:
        self._outbox.put(wire.error(error))
        self._end(UNAUTHENTICATED)

    def drain(self) -> None:
        """End soon, because the node stops: read no more, answer what is under way, and close."""
        self._end(GOING_AWAY)

    def _end(self, closing: Closing) -> None:
        if self._closing is None:
            if closing is SLOW_READER:
                self._client.did(Fault.SLOW_READERS)
            self._closing = closing
            if self._reading is not None:
                self._reading.cancel()

    async def _finish(self, closing: Closing) -> None:
        if closing is SLOW_READER:
            return
        if closing is GOING_AWAY:
            self._outbox.put(wire.draining())
        try:
            async with asyncio.timeout(self._limits.drain_s):
                while self._publishing:
                    await self._next_publish_ended()
                await self._outbox.flushed()
        except TimeoutError:
            return

    async def _watch(self, gone: Callable[[], Awaitable[None]]) -> None:
        await gone()
        self._gone = True
        self._more.set()

    # -- frames in

    def _hear(self, text: str | None) -> None:
        if self._over or self._closing is not None:
            return
        if self._held_up or self._held or not self._may_take:
            self._hold(text)
        else:
            self._take(text)

    def _hold(self, text: str | None) -> None:
        self._held.append(text)
        self._call_reader()

    def _call_reader(self) -> None:
        self._more.set()
        self._socket.pause()

    @property
    def _may_take(self) -> bool:
        in_bounds = self._outbox.has_room and self._publishing < self._limits.max_publishes_in_flight
        return in_bounds and (self._access is OPEN or self._rates.ready(self._access))

    async def _read(self) -> None:
        try:
            self._closing = self._closing or await self._greet()
            if self._closing is not None:
                return
            while True:
                frame = await self._next()
                if isinstance(frame, wire.Subscribe):
                    await self._open(frame)
                    continue
                while not self._may_take:
                    await self._outbox.room()
                    if self._publishing >= self._limits.max_publishes_in_flight:
                        await self._next_publish_ended()
                    await self._rates.refill(self._access)
                self._take(frame)
        except EOFError:
            return

    async def _next(self) -> str | wire.Subscribe | None:
        if not self._held:
            self._held_up = False
            await self._something_held()
            self._held_up = True
        return self._held.popleft()

    async def _something_held(self) -> None:
        """Return when a frame is held. Raises EOFError when the client has gone and there is none."""
        while not self._held:
            if self._gone:
                raise EOFError
            self._more.clear()
            self._socket.resume()
            await self._more.wait()

    async def _greet(self) -> Closing | None:
        """Hear the hello and find out who says it; returns how to close the connection when that fails."""
        ref = None
        try:
            async with asyncio.timeout(self._limits.hello_timeout_s):
                await self._something_held()
            body = wire.decode(_text(self._held.popleft()))
            ref = wire.ref_of(body)
            hello = wire.read_frame(body)
            if not isinstance(hello, wire.Hello):
                raise InvalidInput("the first frame must be a hello", field="op")
            access = await self._entrance.admit(hello.token)
            self._leave_seat = await self._entrance.seats.take(access)
            self._access = access
        except EventRouterError as error:
            self._outbox.put(wire.error(error, ref=ref))
            if isinstance(error, Unauthenticated):
                self._client.did(Fault.UNAUTHENTICATED)
                return UNAUTHENTICATED
            if isinstance(error, Unavailable | Overloaded):
                return NOT_NOW
            return self._no_hello()
        except TimeoutError:
            return self._no_hello()
        self._outbox.put(wire.welcome(*self._identity, self._limits.announced()))
        return None

    def _no_hello(self) -> Closing:
        self._client.did(Fault.NO_HELLO)
        return NO_HELLO

    def _take(self, text: str | None) -> None:
        ref = None
        try:
            publish = wire.plain_publish(_text(text))
            if publish is not None:
                ref = publish.ref
                self._publish(publish)
                return
            body = wire.decode(_text(text))
            ref = wire.ref_of(body)
            _ = self._access.grants  # its credential holds still
            self._handle(wire.read_frame(body))
        except Exception as error:  # noqa: BLE001 - the border: a fault of ours costs one frame, not the connection
            self._failed(error, ref)

    def _failed(self, error: Exception, ref: wire.Ref | None) -> None:
        told = error if isinstance(error, EventRouterError) else unexpected(error, "websocket frame")
        self._outbox.put(wire.error(told, ref=ref))
        if isinstance(error, InvalidInput):
            times = self._client.did(Fault.BAD_FRAMES, str(error))
            if times >= self._limits.max_bad_frames:
                self._end(NONSENSE)
        elif isinstance(error, Unauthenticated):
            self._end(UNAUTHENTICATED)
        elif isinstance(error, Forbidden):
            self._client.did(Fault.FORBIDDEN, str(error))
        elif isinstance(error, RateLimited):
            self._client.did(Fault.RATE_LIMITED, str(error))

    def _handle(self, frame: wire.Frame) -> None:
        match frame:
            case wire.Settle():
                self._subscriptions.settle(frame)
            case wire.Publish():
                self._publish(frame)
            case wire.Credit():
                self._subscriptions.credit(frame.name, frame.add)
            case wire.Subscribe():
                self._held.appendleft(frame)
                self._held_up = True
                self._call_reader()
            case wire.Unsubscribe():
                self._subscriptions.unsubscribe(frame)
            case wire.Ping():
                self._outbox.put(wire.pong(frame.ref))
            case wire.Hello():
                raise InvalidInput("this connection has had its hello", field="op")
            case _:
                assert_never(frame)

    # -- publishing

    def _publish(self, frame: wire.Publish) -> None:
        if len(frame.events) > self._limits.max_batch:
            raise TooLarge(f"{len(frame.events)} events; the limit is {self._limits.max_batch}", field="events")
        permit = self._rates.permit_now(self._access, len(frame.events))
        if frame.ack == "accepted":
            self._engine.begin_publish(frame.events, partial(self._published, frame.ref), permit)
        else:
            task = self._tasks.create_task(self._publish_confirmed(frame, permit), name="websocket publish")
            self._confirming.add(task)
            task.add_done_callback(self._confirming.discard)
        self._publishing += 1

    async def _publish_confirmed(self, frame: wire.Publish, permit: Permit | None) -> None:
        try:
            self._published(frame.ref, await self._engine.publish(frame.events, ack=frame.ack, permit=permit))
        except EventRouterError as error:
            self._published(frame.ref, error)
        except Exception as error:  # noqa: BLE001 - the border, as in _take
            self._published(frame.ref, unexpected(error, "websocket publish"))

    def _published(self, ref: wire.Ref | None, results: Results | EventRouterError) -> None:
        self._publishing -= 1
        self._publish_ended.set()
        if isinstance(results, EventRouterError):
            self._outbox.put(wire.error(results, ref=ref))
        else:
            self._outbox.put(wire.published(ref, [result_object(result) for result in results]))

    async def _next_publish_ended(self) -> None:
        self._publish_ended.clear()
        await self._publish_ended.wait()

    # -- consuming

    async def _open(self, frame: wire.Subscribe) -> None:
        try:
            await self._rates.request(self._access)
            await self._subscriptions.open(frame, self._access)
        except Exception as error:  # noqa: BLE001 - the border, as in _take
            self._failed(error, frame.ref)


def _text(frame: str | wire.Subscribe | None) -> str:
    if not isinstance(frame, str):
        raise InvalidInput("a text frame, not a binary one", field="frame")
    return frame
