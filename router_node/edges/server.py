"""The node's listening socket: uvicorn, run inside the node's own tasks and stopped by its own event."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import structlog
import uvicorn

from router_node.config import Settings
from router_node.contract import Engine, Management
from router_node.edges.app import App, create_app
from router_node.edges.conduct import Conduct
from router_node.edges.http_protocol import BoundedHttp
from router_node.edges.limits import Limits
from router_node.edges.lobby import Lobby
from router_node.edges.protocols import WebSocketProtocol, bound_unread
from router_node.edges.security import Security
from router_node.edges.tls import Files, Tls
from router_node.edges.websocket_session import Identity

BACKLOG = 2048

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, as signals are the command line's business; it tells when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()

    async def main_loop(self) -> None:
        try:
            await super().main_loop()
        except asyncio.CancelledError:
            await self._break_off()
            raise

    async def _break_off(self) -> None:
        for server in self.servers:
            server.close()
        for connection in self.server_state.connections:
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


async def serve(
    engine: Engine,
    management: Management,
    settings: Settings,
    metrics_text: Callable[[], bytes],
    conduct: Conduct,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    *,
    host: str,
    port: int,
    security: Security,
) -> None:
    """Serve until ``stop`` is set, then let what is under way end, for a bounded time, and return.

    ``ready`` is told the address, such as ``http://127.0.0.1:8080``, once connections are taken; port 0 takes a free
    one. Raises OSError when the address cannot be listened on or the TLS files cannot be used.
    Cancelling it closes everything at once.
    """
    limits = Limits(max_event_bytes=settings.max_event_bytes, max_body_bytes=settings.max_body_bytes)
    identity = Identity(settings.node_id, settings.cluster)
    tls = _tls(settings)
    app = create_app(
        engine,
        management,
        limits=limits,
        metrics_text=metrics_text,
        identity=identity,
        conduct=conduct,
        security=security,
    )
    listener = listen(host, port, reuse_port=settings.reuse_port)
    with listener:
        ready_at = f"{'http' if tls is None else 'https'}://{_shown(host)}:{listener.getsockname()[1]}"

        def serving() -> None:
            log.info("the node serves", address=ready_at, node=settings.node_id, settings=settings.given())
            ready(ready_at)

        await serve_app(app, listener, limits, stop, serving, tls)


async def serve_app(
    app: App,
    listener: socket.socket,
    limits: Limits,
    stop: asyncio.Event,
    ready: Callable[[], None],
    tls: Tls | None = None,
) -> None:
    """Serve ``app`` on a listening socket until ``stop`` is set; see :func:`serve`."""
    bound_unread(listener, limits.unread_s)
    lobby = Lobby(limits, app.connections.conduct)
    config = _config(app, limits, lobby)
    if tls is not None:
        config.load()
        config.ssl = tls.context
    server = _Server(config, ready)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(lobby.watch(), name="http lobby")
        serving = tasks.create_task(server.serve(sockets=[listener]), name="http server")
        stopping = tasks.create_task(stop.wait(), name="http server stop")
        loops = [tasks.create_task(loop(), name="edges") for loop in app.loops]
        if tls is not None:
            loops.append(tasks.create_task(tls.keep_up(), name="TLS files"))
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not await app.connections.drain(limits.drain_s + 1):
            log.warning("connections did not end in time", left=len(app.connections))
        for loop in loops:
            loop.cancel()
        server.should_exit = True
        await asyncio.wait([serving])
        watching.cancel()


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Return a listening socket; with ``reuse_port`` one of several of this machine among which the kernel spreads
    connections, if they all say so. Raises OSError.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # The protocol must be named: asyncio turns Nagle's delays (40 ms an answer) off only where it is.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _config(app: App, limits: Limits, lobby: Lobby) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], partial(BoundedHttp, lobby=lobby, limits=limits)),
        loop="none",
        ws=WebSocketProtocol,
        ws_ping_interval=limits.ping_s,
        ws_ping_timeout=limits.ping_s,
        ws_max_size=limits.max_frame_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # What clients do wrong is counted, and said once a minute, by Conduct. At the level debug uvicorn would write
        # out each WebSocket's headers and frames, and the tokens in them.
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(limits.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(limits.drain_s),
    )


def _tls(settings: Settings) -> Tls | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    client_ca = Path(settings.tls_client_ca) if settings.tls_client_ca is not None else None
    return Tls(Files(Path(settings.tls_cert), Path(settings.tls_key), client_ca, settings.tls_client_auth))


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
