"""A node's edges served for a test, and a WebSocket client that speaks in frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from router_node.contract import Engine, Management
from router_node.edges.app import App, create_app
from router_node.edges.limits import Limits
from router_node.edges.security import Security
from router_node.edges.server import listen, serve_app
from router_node.edges.websocket_session import Identity


class Served:
    """Edges at ``url``; ``stop`` makes them drain."""

    def __init__(self, app: App, engine: Engine, management: Management, port: int) -> None:
        self.app = app
        self.engine = engine
        self.management = management
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.stop = asyncio.Event()
        self.stopped = asyncio.Event()

    @asynccontextmanager
    async def link(self, *, greet: bool = True, token: str | None = None) -> AsyncIterator[Link]:
        """Connect to the WebSocket, and greet."""
        async with connect(f"ws://127.0.0.1:{self.port}/v1/ws", compression=None, max_size=None) as connection:
            link = Link(connection)
            if greet:
                await link.send(op="hello", version=1, **({"token": token} if token is not None else {}))
                assert (await link.next())["op"] == "welcome"
            yield link


@asynccontextmanager
async def served(
    engine: Engine, management: Management, *, security: Security | None = None, **limits: Any
) -> AsyncIterator[Served]:
    """Serve an engine's edges on a free port until the context ends."""
    bounds = Limits(**{"drain_s": 2.0, **limits})
    app = create_app(
        engine,
        management,
        limits=bounds,
        metrics_text=lambda: b"er_up 1\n",
        identity=Identity("node-1", "test"),
        security=security,
    )
    listener = listen("127.0.0.1", 0)
    server = Served(app, engine, management, listener.getsockname()[1])
    started = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(listener)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(_serve(server, listener, bounds, started.set))
        await started.wait()
        try:
            yield server
        finally:
            server.stop.set()


async def _serve(server: Served, listener: Any, limits: Limits, started: Callable[[], None]) -> None:
    await serve_app(server.app, listener, limits, server.stop, started)
    server.stopped.set()


class Link:
    """A client's side of the WebSocket protocol, frame by frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **frame: Any) -> None:
        """Send one frame."""
        await self.connection.send(orjson.dumps(frame), text=True)

    async def raw(self, text: str | bytes) -> None:
        """Send anything, as a text message when it is text."""
        await self.connection.send(text)

    async def next(self) -> dict[str, Any]:
        """Return the next frame."""
        async with asyncio.timeout(5):
            frame = orjson.loads(await self.connection.recv())
        assert isinstance(frame, dict)
        return frame

    async def next_or_end(self) -> None:
        """Pass over the next frame, if there is one."""
        with suppress(ConnectionClosed):
            await self.next()

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send one frame and return the next that comes."""
        await self.send(**frame)
        return await self.next()

    async def deliveries(self, count: int) -> list[dict[str, Any]]:
        """Return the next ``count`` deliveries, from as many frames as it takes."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = await self.next()
            assert frame["op"] == "deliver", frame
            found += frame["deliveries"]
        return found
