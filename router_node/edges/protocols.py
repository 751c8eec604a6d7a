"""uvicorn's protocols with the bounds they have not: the head of a request, and who reads nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode
from websockets.http11 import Request

from router_node.edges.app import App
from router_node.edges.certificates import CERTIFICATE, of_connection
from router_node.edges.conduct import Fault
from router_node.edges.http_heard import Answer, Publishes, header_lines
from router_node.edges.websocket_session import SOCKET
from router_node.security.gate import NOBODY, Access
from router_node.security.principal import Certificate

MAX_HEAD_BYTES = 64 * 1024
GATHERED_BYTES = 16 * 1024
UNSENT_BYTES = 128 * 1024
"""What the system takes of a connection beyond what its client has room for: megabytes of it would hide who reads."""


def bound_unread(listener: socket.socket, seconds: float) -> None:
    """Have the system break off connections of ``listener`` that leave what was sent unread for so long.

    Nothing else ends one whose client has stopped reading: closing it waits until all is sent. Where the
    system knows no such bound (it is Linux's) there is none, but for WebSockets, which are pinged.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


class _Gathering:
    """A transport that writes at once what is written in one turn of the event loop: an answer's head and its body.

    Much is written at once, so that the connection can say when it takes no more.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._parts: list[bytes] = []
        self._size = 0
        self._call_soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """See asyncio.Transport."""
        if not self._parts:
            self._call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= GATHERED_BYTES:
            self.flush()

    def write_at_once(self, data: bytes) -> None:
        """Write an answer that is whole, after what was gathered."""
        self.flush()
        self.transport.write(data)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self.transport.write(b"".join(parts))

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self.transport.is_closing()

    def close(self) -> None:
        """See asyncio.Transport."""
        self.flush()
        self.transport.close()


class _Ignored:
    def set(self) -> None:
        """Nobody waits for it."""


class _Heard:
    """A request that was heard past ASGI, where uvicorn keeps what it knows of the one under way."""

    message_event = _Ignored()

    def __init__(self) -> None:
        self.response_complete = self.disconnected = False
        self.keep_alive = True


class HttpProtocol(HttpToolsProtocol):
    """HTTP with a bound on the head of a request; an answer that nobody reads is counted.

    An answer's head and body are one call to the system: it costs more than most answers do otherwise. A usual
    publish that comes whole in one read, while nothing else is under way on its connection, is heard past ASGI.
    """

    _head_bytes: int | None = None
    _certificate: Certificate | None = None
    _publishes: Publishes | None = None
    _body: bytes | None = None
    """What was read of a publish that may be heard."""
    _access: Access = NOBODY
    """Whose publish that is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See uvicorn."""
        super().connection_made(transport)
        self._certificate = of_connection(transport)
        self.transport = cast(asyncio.Transport, _Gathering(transport))
        if isinstance(self.config.app, App):
            self._publishes = self.config.app.publishes

    def handle_websocket_upgrade(self) -> None:
        """See uvicorn."""
        gathering = cast(_Gathering, self.transport)
        gathering.flush()
        self.transport = gathering.transport
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """See uvicorn."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"The head of a request has at most {MAX_HEAD_BYTES} bytes.")
                return
        super().data_received(data)
        if self._body is not None:
            self._leave_to_asgi()  # there is more to come, for which somebody has to wait

    def on_message_begin(self) -> None:
        """See uvicorn."""
        self._head_bytes = 0
        super().on_message_begin()
        if self._certificate is not None:
            cast(dict[str, object], self.scope)[CERTIFICATE] = self._certificate

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        self._head_bytes = None
        if self._may_be_heard():
            self._body = b""
        else:
            super().on_headers_complete()

    def _may_be_heard(self) -> bool:
        return (
            self.url == b"/v1/events"
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and self._publishes is not None
            and self._certificate is None
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and self._is_taken(self._publishes)
        )

    def _is_taken(self, publishes: Publishes) -> bool:
        access = publishes.takes(self.headers)
        if access is None:
            return False
        self._access = access
        return True

    def on_body(self, body: bytes) -> None:
        """See uvicorn."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """See uvicorn."""
        if self._body is not None:
            if self._hear(self._body):
                return
            self._leave_to_asgi()
        super().on_message_complete()

    def _hear(self, body: bytes) -> bool:
        assert self._publishes is not None  # noqa: S101 - it may be heard
        before, heard = self.cycle, _Heard()
        self.cycle = cast(RequestResponseCycle, heard)
        if self._publishes.hear(body, self._access, partial(self._answer, heard)):
            self._body = None
            return True
        self.cycle = before
        return False

    def _answer(self, heard: _Heard, answer: Answer) -> None:
        if heard.disconnected or self.transport.is_closing():
            return
        usual = header_lines(self.server_state.default_headers)
        ending = b"\r\n" if heard.keep_alive else b"connection: close\r\n\r\n"
        whole = b"".join((STATUS_LINE[answer.status], usual, answer.head, ending, answer.body))
        try:
            cast(_Gathering, self.transport).write_at_once(whole)
        except RuntimeError:  # uvloop's word for a transport that the peer has reset
            return
        heard.response_complete = True
        if not heard.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _leave_to_asgi(self) -> None:
        body, self._body = self._body, None
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        # One that is still being answered, a stream, is watched by who answers.
        if isinstance(exc, TimeoutError) and self.cycle is not None and self.cycle.response_complete:
            _told(self.config, self.client, Fault.SLOW_READERS, "an answer that was not read")
        super().connection_lost(exc)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket; one whose client answers no pings is broken off, and counted.

    The application finds it, a Socket, among the extensions of its scope. Once it has set ``hear``, messages are handed
    to that as they are read, None for one that is not text, and ``receive`` gives the end of the connection only: a
    queue and a task to wake cost more than most messages do.
    """

    hear: Callable[[str | None], None] | None = None
    _over = False

    def handle_connect(self, event: Request) -> None:
        """See uvicorn."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast(dict[str, object], self.scope["extensions"])[SOCKET] = self
            certificate = of_connection(self.transport)
            if certificate is not None:
                cast(dict[str, object], self.scope)[CERTIFICATE] = certificate

    def send_receive_event_to_app(self) -> None:
        """See uvicorn."""
        if self.hear is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        parts, self.frames = self.frames, []
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        text = None
        if self.curr_msg_data_type == "text":
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
                return
        self.hear(text)

    def pause(self) -> None:
        """Read no more for now; what was read at once with the present message is still heard."""
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    @property
    def takes_more(self) -> bool:
        """What is sent now is sent soon, or never, as the connection has ended."""
        return self.writable.is_set()

    async def room(self) -> None:
        """Return when the client has read most of what was sent to it, or has gone."""
        await self.writable.wait()

    def send_all(self, frames: Iterable[bytes]) -> None:
        """Send text messages without waiting; nothing when the connection ends, of which ``receive`` tells."""
        if self.disconnected or self.close_sent:
            return
        with suppress(InvalidState):  # the client is closing it
            for frame in frames:
                self.conn.send_text(frame)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def keepalive_timeout(self) -> None:
        """See uvicorn."""
        if not (self._over or self.close_sent):
            self._over = True
            _told(self.config, self.client, Fault.VANISHED)
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """See uvicorn."""
        self._over = True
        super().on_task_complete(task)

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        if isinstance(exc, TimeoutError) and not self._over:
            _told(self.config, self.client, Fault.SLOW_READERS, "nothing that was sent was read")
        super().connection_lost(exc)


def _told(config: uvicorn.Config, peer: tuple[str, int] | None, fault: Fault, detail: str = "") -> None:
    app = config.app
    if isinstance(app, App):
        app.connections.conduct.client(peer).did(fault, detail)
