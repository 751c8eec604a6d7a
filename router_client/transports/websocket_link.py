"""One WebSocket connection from the greeting to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from router_client import wire
from router_client.credentials import tls_of, token_of
from router_client.errors import ConnectionLost, EventRouterError, Unavailable, from_problem
from router_client.options import ClientOptions

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Larger than any frame a router sends: deliveries of a whole window of the largest events."""

WAITING_BYTES = 64 * 1024
"""What may wait for the system to take it before a sender has to."""

_log = logging.getLogger(__name__)
_wire_log = logging.getLogger(f"{__name__}.wire")
# At the level debug the library writes out frames, and the token in the first of them.
_wire_log.setLevel(logging.INFO)


class Link(ClientConnection):
    """A connection whose text messages are taken as they come, once ``take`` is set, by no task that has to wake."""

    take: Callable[[bytes], None] | None = None
    _parts: list[bytes]

    def process_event(self, event: Event) -> None:
        """See ClientConnection."""
        if self.take is None or not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.CONT):
            super().process_event(event)
        elif event.fin and event.opcode is Opcode.TEXT:
            self.take(bytes(event.data))
        else:  # something on the way has cut it into parts
            self._parts = [] if event.opcode is Opcode.TEXT else self._parts
            self._parts.append(bytes(event.data))
            if event.fin:
                self.take(b"".join(self._parts))

    @property
    def takes_more(self) -> bool:
        """What is sent now is sent soon."""
        return self.transport.get_write_buffer_size() < WAITING_BYTES

    def send_now(self, frame: bytes) -> None:
        """Send a text message without waiting; one that is closing already sends nothing."""
        broadcast([self], frame, text=True)


async def dial(url: str, options: ClientOptions) -> Link:
    """Connect and greet, within ``connect_timeout_s``.

    Raises ConnectionLost when that fails for a reason that may pass, and what the router answered otherwise.
    Cancelling it leaves no connection behind.
    """
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            link = await connect(
                url,
                compression=None,
                open_timeout=None,
                ping_interval=options.ping_interval_s,
                ping_timeout=options.ping_timeout_s,
                close_timeout=min(1.0, options.close_timeout_s),
                max_size=MAX_FRAME_BYTES,
                create_connection=Link,
                logger=_wire_log,
                ssl=tls_of(options) if url.startswith("wss:") else None,
            )
            assert isinstance(link, Link)  # noqa: S101 - as it was told to be
            try:
                await _greet(link, token_of(options))
            except BaseException:
                link.transport.abort()
                raise
    except InvalidStatus as error:
        raise _refused(url, error) from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise ConnectionLost(f"{url}: {error or 'no answer in time'}") from error
    return link


async def _greet(link: ClientConnection, token: str | None) -> None:
    await link.send(wire.hello(token), text=True)
    while True:
        frame = orjson.loads(await link.recv(decode=False))
        if frame.get("op") == "welcome":
            return
        if frame.get("op") == "error":
            error = from_problem(frame["error"])
            raise ConnectionLost(error.detail) if isinstance(error, Unavailable) else error
        _log.debug("ignored before the welcome: %s", frame.get("op"))


def lost(error: ConnectionClosed) -> ConnectionLost:
    """Translate the end of a connection."""
    return ConnectionLost(f"the connection was closed: {error}")


def _refused(url: str, error: InvalidStatus) -> EventRouterError:
    status = error.response.status_code
    try:
        problem = orjson.loads(error.response.body or b"")
        refusal = from_problem(problem)
    except (orjson.JSONDecodeError, AttributeError):
        refusal = EventRouterError(f"{url} answered {status}")
    return ConnectionLost(refusal.detail) if status >= 500 or status == 429 else refusal
