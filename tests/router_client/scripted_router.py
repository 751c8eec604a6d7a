"""A WebSocket server that says what the test tells it to: for frames and moments a real router produces too seldom."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class Link:
    """The router's end of one connection, already greeted."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.hello: dict[str, Any] = {}

    async def next(self, op: str) -> dict[str, Any]:
        """Return the next frame with that ``op``, leaving out those before it."""
        while True:
            frame: dict[str, Any] = orjson.loads(await self.connection.recv())
            if frame["op"] == op:
                return frame

    async def send(self, op: str, **members: Any) -> None:
        await self.connection.send(orjson.dumps({"op": op, **members}).decode())

    async def send_text(self, text: str) -> None:
        await self.connection.send(text)

    async def confirm(self, frame: dict[str, Any]) -> None:
        """Answer a publish as accepted, a subscribe as subscribed, an unsubscribe as unsubscribed."""
        if frame["op"] == "publish":
            results = [{"id": event["id"], "partition": 0, "duplicate": False} for event in frame["events"]]
            await self.send("published", ref=frame["ref"], results=results)
        else:
            await self.send(frame["op"] + "d", ref=frame["ref"])

    async def deliver(self, subscription: str, *ids: str, attempt: int = 1) -> None:
        deliveries = [
            {"delivery_id": f"d-{name}-{attempt}", "attempt": attempt, "event": an_event(name)} for name in ids
        ]
        await self.send("deliver", name=subscription, deliveries=deliveries)

    def drop(self) -> None:
        """Reset the connection."""
        self.connection.transport.abort()


class ScriptedRouter:
    """Listens on a free port; each connection is greeted and then handed to the test by ``connected``."""

    def __init__(self, *, greet: bool = True) -> None:
        self._greet = greet
        self._links: asyncio.Queue[Link] = asyncio.Queue()
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def connected(self) -> Link:
        async with asyncio.timeout(5):
            return await self._links.get()

    async def _serve(self, connection: ServerConnection) -> None:
        link = Link(connection)
        try:
            link.hello = await link.next("hello")
            if self._greet:
                await link.send("welcome", node="n", cluster="c", limits={})
            self._links.put_nowait(link)
            await connection.wait_closed()
        except ConnectionClosed:
            pass


def an_event(event_id: str) -> dict[str, Any]:
    return {
        "id": event_id,
        "type": "orders.created",
        "priority": 5,
        "timestamp": "2013-01-01T05:15:00Z",
        "source": "",
        "correlation_id": event_id,
        "payload": {},
    }
