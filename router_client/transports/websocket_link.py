"""One WebSocket connection from the greeting to its end."""

from __future__ import annotations

import asyncio
import logging

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from router_client import wire
from router_client.errors import ConnectionLost, EventRouterError, Unavailable, from_problem
from router_client.options import ClientOptions

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Larger than any frame a router sends: deliveries of a whole window of the largest events."""

_log = logging.getLogger(__name__)


async def dial(url: str, options: ClientOptions) -> ClientConnection:
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
            )
            try:
                await _greet(link, options.token)
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
