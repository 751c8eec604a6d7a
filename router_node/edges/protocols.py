"""uvicorn's protocols with the bounds they have not: the head of a request, and who reads nothing."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from router_node.edges.app import App
from router_node.edges.conduct import Fault

MAX_HEAD_BYTES = 64 * 1024
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


class HttpProtocol(HttpToolsProtocol):
    """HTTP with a bound on the head of a request; an answer that nobody reads is counted."""

    _head_bytes: int | None = None

    def data_received(self, data: bytes) -> None:
        """See uvicorn."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"The head of a request has at most {MAX_HEAD_BYTES} bytes.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """See uvicorn."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        self._head_bytes = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        # One that is still being answered, a stream, is watched by who answers.
        if isinstance(exc, TimeoutError) and self.cycle is not None and self.cycle.response_complete:
            _told(self.config, self.client, Fault.SLOW_READERS, "an answer that was not read")
        super().connection_lost(exc)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket; one whose client answers no pings is broken off, and counted."""

    _over = False

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
