"""One WebSocket conversation: frames in, answers and deliveries out. Apart from the socket, see websocket.py."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple, assert_never

from router_client import wire
from router_client.errors import Conflict, EventRouterError, InvalidInput, NotFound, TooLarge
from router_node.contract import Attachment, Delivery, Engine
from router_node.edges.conduct import Client, Fault
from router_node.edges.limits import Limits
from router_node.edges.problems import result_object, unexpected
from router_node.edges.settling import by_subscription
from router_node.edges.websocket_outbox import Lot, Outbox

MAX_NAMED = 20


class Closing(NamedTuple):
    """How a connection is to be closed: a WebSocket close code and a reason."""

    code: int
    reason: str


NO_HELLO = Closing(1008, "the first frame must be a hello")
NONSENSE = Closing(4009, "too many frames that make no sense")
SLOW_READER = Closing(4008, "slow reader: too many frames wait to be read")
GOING_AWAY = Closing(1001, "the node is stopping")


class Identity(NamedTuple):
    """What a node tells of itself."""

    node: str
    cluster: str


class _Subscription:
    """The consumer of one subscription on this connection.

    Delivery ids get a random prefix on their way out: they are unique within a subscription only, and one that comes
    back from an earlier connection or another subscription must find nothing here.
    """

    def __init__(self, name: str, outbox: Outbox, ended: Callable[[_Subscription, EventRouterError], None]) -> None:
        self.key = secrets.token_hex(4)
        self.lot = Lot(name, f"{self.key}.")
        self.attachment: Attachment | None = None
        self._outbox = outbox
        self._ended = ended

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self.lot.add(deliveries)
        self._outbox.put_lot(self.lot)

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self._ended(self, error)

    def close(self) -> None:
        """Let go of the subscription; what was delivered and not settled goes to another consumer."""
        self.lot.clear()
        if self.attachment is not None:
            self.attachment.detach(requeue=True)


class Session:
    """See the module.

    Frames are handled in the order they come. Publishes are handed to the engine in that order too, and answered as
    they are done, each by its ref.
    """

    def __init__(self, engine: Engine, identity: Identity, limits: Limits, client: Client) -> None:
        self._client = client
        self._engine = engine
        self._identity = identity
        self._limits = limits
        self._outbox = Outbox(limits, lambda: self._end(SLOW_READER))
        self._publishing: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(limits.max_publishes_in_flight)
        self._by_name: dict[str, _Subscription] = {}
        self._by_key: dict[str, _Subscription] = {}
        self._reading: asyncio.Task[None] | None = None
        self._closing: Closing | None = None

    async def run(
        self, receive: Callable[[], Awaitable[str | None]], send: Callable[[str], Awaitable[None]]
    ) -> Closing | None:
        """Converse until one side ends it; returns how to close the connection, None when the client has gone.

        ``receive`` returns the next frame, None for one that is not text, and raises EOFError when the client has gone;
        ``send`` raises OSError then. Cancelling it, like every end, gives back what was delivered and not settled.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._write(send), name="websocket writer")
                self._reading = tasks.create_task(self._read(receive, tasks), name="websocket reader")
                if self._closing is not None:
                    self._reading.cancel()
                await asyncio.wait([self._reading])
                if self._closing is not None and not writing.done():
                    await self._finish(self._closing)
                for task in (writing, *self._publishing):
                    task.cancel()
        finally:
            for subscription in list(self._by_name.values()):
                subscription.close()
        return self._closing

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
                if self._publishing:
                    await asyncio.wait(self._publishing)
                await self._outbox.flushed()
        except TimeoutError:
            return

    async def _write(self, send: Callable[[str], Awaitable[None]]) -> None:
        try:
            await self._outbox.run(send)
        except OSError:  # the client has gone
            if self._reading is not None:
                self._reading.cancel()

    # -- frames in

    async def _read(self, receive: Callable[[], Awaitable[str | None]], tasks: asyncio.TaskGroup) -> None:
        try:
            if not await self._greet(receive):
                self._client.did(Fault.NO_HELLO)
                self._closing = NO_HELLO
                return
            while True:
                await self._outbox.room()
                await self._take(await receive(), tasks)
        except EOFError:
            return

    async def _greet(self, receive: Callable[[], Awaitable[str | None]]) -> bool:
        ref = None
        try:
            async with asyncio.timeout(self._limits.hello_timeout_s):
                body = wire.decode(_text(await receive()))
            ref = wire.ref_of(body)
            if not isinstance(wire.read_frame(body), wire.Hello):
                raise InvalidInput("the first frame must be a hello", field="op")
        except EventRouterError as error:
            self._outbox.put(wire.error(error, ref=ref))
            return False
        except TimeoutError:
            return False
        self._outbox.put(wire.welcome(*self._identity, self._limits.announced()))
        return True

    async def _take(self, text: str | None, tasks: asyncio.TaskGroup) -> None:
        ref = None
        try:
            publish = wire.plain_publish(_text(text))
            if publish is not None:
                ref = publish.ref
                await self._start_publish(publish, tasks)
                return
            body = wire.decode(_text(text))
            ref = wire.ref_of(body)
            await self._handle(wire.read_frame(body), tasks)
        except InvalidInput as error:
            self._outbox.put(wire.error(error, ref=ref))
            if self._client.did(Fault.BAD_FRAMES, str(error)) >= self._limits.max_bad_frames:
                self._end(NONSENSE)
        except EventRouterError as error:
            self._outbox.put(wire.error(error, ref=ref))
        except Exception as error:  # noqa: BLE001 - the border: a fault of ours costs one frame, not the connection
            self._outbox.put(wire.error(unexpected(error, "websocket frame"), ref=ref))

    async def _handle(self, frame: wire.Frame, tasks: asyncio.TaskGroup) -> None:
        match frame:
            case wire.Settle():
                self._settle(frame)
            case wire.Publish():
                await self._start_publish(frame, tasks)
            case wire.Credit():
                self._credit(frame.name, frame.add)
            case wire.Subscribe():
                await self._subscribe(frame)
            case wire.Unsubscribe():
                self._unsubscribe(frame)
            case wire.Ping():
                self._outbox.put(wire.pong(frame.ref))
            case wire.Hello():
                raise InvalidInput("this connection has had its hello", field="op")
            case _:
                assert_never(frame)

    # -- publishing

    async def _start_publish(self, frame: wire.Publish, tasks: asyncio.TaskGroup) -> None:
        if len(frame.events) > self._limits.max_batch:
            raise TooLarge(f"{len(frame.events)} events; the limit is {self._limits.max_batch}", field="events")
        await self._slots.acquire()
        task = tasks.create_task(self._publish(frame), name="websocket publish")
        self._publishing.add(task)
        task.add_done_callback(self._published)

    def _published(self, task: asyncio.Task[None]) -> None:
        self._publishing.discard(task)
        self._slots.release()

    async def _publish(self, frame: wire.Publish) -> None:
        try:
            results = await self._engine.publish(frame.events, ack=frame.ack)
            self._outbox.put(wire.published(frame.ref, [result_object(result) for result in results]))
        except EventRouterError as error:
            self._outbox.put(wire.error(error, ref=frame.ref))
        except Exception as error:  # noqa: BLE001 - the border, as in _take
            self._outbox.put(wire.error(unexpected(error, "websocket publish"), ref=frame.ref))

    # -- consuming

    async def _subscribe(self, frame: wire.Subscribe) -> None:
        name = frame.spec.name
        if name in self._by_name:
            raise Conflict("open on this connection already", field="name")
        if len(self._by_name) >= self._limits.max_subscriptions_per_connection:
            raise TooLarge(f"at most {self._limits.max_subscriptions_per_connection} on a connection", field="name")
        subscription = _Subscription(name, self._outbox, self._ended)
        self._by_name[name] = self._by_key[subscription.key] = subscription
        try:
            subscription.attachment = await self._engine.open(frame.spec, subscription, frame.credit)
        except BaseException:
            self._forget(subscription)
            raise
        self._outbox.put(wire.subscribed(frame.ref, name))
        subscription.lot.held = False
        self._outbox.put_lot(subscription.lot)

    def _unsubscribe(self, frame: wire.Unsubscribe) -> None:
        subscription = self._named(frame.name)
        subscription.close()
        self._forget(subscription)
        self._outbox.put(wire.unsubscribed(frame.ref, frame.name))

    def _credit(self, name: str, more: int) -> None:
        attachment = self._named(name).attachment
        if attachment is not None:
            attachment.add_credit(more)

    def _settle(self, frame: wire.Settle) -> None:
        parts, unknown = by_subscription(frame, self._by_key)
        for key, part in parts.items():
            attachment = self._by_key[key].attachment
            if attachment is not None:
                unknown += [f"{key}.{own_id}" for own_id in attachment.settle(part)]
        if unknown:
            self._report_unknown(frame.ref, unknown)
        for name, more in frame.credit.items():
            self._credit(name, more)

    def _report_unknown(self, ref: wire.Ref | None, unknown: list[str]) -> None:
        named = ", ".join(unknown[:MAX_NAMED]) + (", ..." if len(unknown) > MAX_NAMED else "")
        self._client.did(Fault.UNKNOWN_DELIVERIES, named, len(unknown))
        error = NotFound(f"{len(unknown)} not in flight on this connection: {named}", field="delivery_id")
        self._outbox.put(wire.error(error, ref=ref, unknown=unknown))

    def _ended(self, subscription: _Subscription, error: EventRouterError) -> None:
        subscription.lot.clear()
        self._forget(subscription)
        self._outbox.put(wire.error(error, name=subscription.lot.name))

    def _forget(self, subscription: _Subscription) -> None:
        if self._by_name.get(subscription.lot.name) is subscription:
            del self._by_name[subscription.lot.name]
        self._by_key.pop(subscription.key, None)

    def _named(self, name: str) -> _Subscription:
        subscription = self._by_name.get(name)
        if subscription is None:
            raise NotFound(f"no subscription {name} is open on this connection", field="name")
        return subscription


def _text(frame: str | None) -> str:
    if frame is None:
        raise InvalidInput("a text frame, not a binary one", field="frame")
    return frame
