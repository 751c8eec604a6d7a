"""HTTP connections as the node serves them: bounded in time and number by the lobby, and refused with problems."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from router_client.errors import EventRouterError, InvalidInput, Overloaded
from router_node.edges.bodies import RequestTimeout
from router_node.edges.conduct import Fault
from router_node.edges.limits import Limits
from router_node.edges.lobby import Lobby
from router_node.edges.problems import HeadTooLarge, problem_response
from router_node.edges.protocols import MAX_HEAD_BYTES, HttpProtocol


class BoundedHttp(HttpProtocol):
    """See the module. What cannot become a request is answered here, and the connection closed."""

    def __init__(self, *arguments: Any, lobby: Lobby, limits: Limits, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lobby = lobby
        self._limits = limits
        self._refusal: EventRouterError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See uvicorn."""
        super().connection_made(transport)
        if not self._lobby.came(self, len(self.connections)):
            self._refuse(Overloaded("this node has as many connections as it may"))

    def on_message_begin(self) -> None:
        """See uvicorn."""
        self._lobby.begins(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See uvicorn. Raises what is refused, for ``send_400_response`` to say."""
        self._lobby.asks(self)
        if len(self.headers) > self._limits.max_headers:
            self._refusal = _too_large(self._limits)
            raise self._refusal
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self._lobby.rests(self)

    def handle_websocket_upgrade(self) -> None:
        """See uvicorn."""
        self._lobby.leaves(self)
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        self._lobby.leaves(self)
        super().connection_lost(exc)

    def dismiss(self) -> None:
        """See Guest."""
        self.transport.close()

    def refuse_late(self) -> None:
        """See Guest."""
        if self._head_bytes is None:
            self.transport.close()
        else:
            limit_s = self._limits.head_timeout_s
            self._refuse(RequestTimeout(f"the head of the request took longer than {limit_s:g} s", field="head"))

    def send_400_response(self, msg: str) -> None:
        """See uvicorn: it was not HTTP, or too much of it."""
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._refusal = _too_large(self._limits)
        self._lobby.conduct.passing(Fault.BAD_REQUESTS)
        self._refuse(self._refusal or InvalidInput("this is no request of HTTP/1.1", field="head"))

    def _refuse(self, error: EventRouterError) -> None:
        self._lobby.leaves(self)
        if self.cycle is None or self.cycle.response_complete:  # else it would stand in the midst of an answer
            answer = problem_response(error, {"connection": "close"})
            head = b"".join(b"%b: %b\r\n" % line for line in answer.raw_headers)
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], head, bytes(answer.body)))
        self.transport.close()


def _too_large(limits: Limits) -> HeadTooLarge:
    return HeadTooLarge(f"at most {MAX_HEAD_BYTES} bytes and {limits.max_headers} headers", field="head")
