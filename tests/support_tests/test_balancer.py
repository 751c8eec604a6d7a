"""The load balancer in front of small servers of its own: who gets a connection, and when one ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, WSMsgType, web

from tests.support.balancer import Balancer
from tests.support.signals import wait_for


class Backend:
    """Answers its name over HTTP, echoes over WebSocket, and is ready as long as it says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.port = 0
        self._runner: web.AppRunner | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Backend]:
        app = web.Application()
        app.add_routes([web.get("/readyz", self._readyz), web.get("/name", self._name), web.get("/echo", self._echo)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        try:
            yield self
        finally:
            await self.die()

    async def die(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)

    async def _name(self, _: web.Request) -> web.Response:
        return web.Response(text=self.name, headers={"connection": "close"})

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{self.name} {message.data}")
        return socket


@asynccontextmanager
async def balanced() -> AsyncIterator[tuple[Backend, Backend, Balancer, ClientSession]]:
    async with (
        Backend("a").serving() as a,
        Backend("b").serving() as b,
        Balancer([a.port, b.port]) as balancer,
        ClientSession(timeout=ClientTimeout(total=5)) as session,
    ):
        await wait_for(lambda: len(balancer.ready) == 2, 5, "both are ready")
        yield a, b, balancer, session


async def names(session: ClientSession, balancer: Balancer, requests: int = 4) -> list[str]:
    answers = []
    for _ in range(requests):
        async with session.get(f"{balancer.url}/name") as response:
            answers.append(await response.text())
    return answers


async def test_ready_backends_take_turns() -> None:
    async with balanced() as (_, _, balancer, session):
        assert sorted(await names(session, balancer)) == ["a", "a", "b", "b"]


async def test_a_backend_that_is_not_ready_gets_nothing_new_and_keeps_what_it_has() -> None:
    async with balanced() as (a, b, balancer, session):
        sockets = [await session.ws_connect(f"{balancer.url}/echo") for _ in range(2)]
        a.ready = False
        await wait_for(lambda: balancer.ready == {b.port}, 5, "one is no longer ready")
        assert await names(session, balancer) == ["b"] * 4
        echoes = []
        for socket in sockets:
            await socket.send_str("still here")
            echoes.append(await socket.receive_str())
        assert sorted(echoes) == ["a still here", "b still here"]
        a.ready = True
        await wait_for(lambda: len(balancer.ready) == 2, 5, "it is ready again")
        assert set(await names(session, balancer)) == {"a", "b"}


async def test_connections_end_with_their_backend_and_new_ones_go_to_the_other() -> None:
    async with balanced() as (a, _, balancer, session):
        sockets = [await session.ws_connect(f"{balancer.url}/echo") for _ in range(2)]
        async with asyncio.timeout(5):
            dying = asyncio.create_task(a.die())
            done, rest = await asyncio.wait(
                [asyncio.create_task(socket.receive()) for socket in sockets], return_when=asyncio.FIRST_COMPLETED
            )
            await dying
        assert [task.result().type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR) for task in done] == [True]
        assert set(await names(session, balancer)) == {"b"}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


async def test_without_a_backend_connections_are_closed_at_once() -> None:
    async with Balancer([1]) as balancer, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        assert await reader.read() == b""
        writer.close()
