"""The WebSocket at /v1/ws: the socket's side of a conversation, see websocket_session.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import Receive, Scope, Send

from router_client.errors import EventRouterError
from router_node.contract import Engine
from router_node.edges.conduct import Client, Fault
from router_node.edges.connections import Connections
from router_node.edges.door import Door
from router_node.edges.limits import Limits
from router_node.edges.problems import problem_response, unexpected
from router_node.edges.security import Security
from router_node.edges.watch import Watch
from router_node.edges.websocket_session import SOCKET, Closing, Entrance, Identity, Session
from router_node.security.gate import Access

FAILED = 1011
UNREADABLE = {1002: "no WebSocket frame", 1007: "text that is not UTF-8", 1009: "a message that is too large"}


class WebSocketEndpoint:
    """An ASGI application that holds one conversation per connection."""

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        connections: Connections,
        limits: Limits,
        door: Door,
        security: Security,
        watch: Watch,
    ) -> None:
        self._door = door
        self._security = security
        self._watch = watch
        self._engine = engine
        self._identity = identity
        self._connections = connections
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept, converse, close; a node with too many connections refuses the upgrade with a problem."""
        await receive()  # websocket.connect
        client = self._connections.conduct.client(scope.get("client"))
        try:
            entrance = Entrance(await self._way_in(scope), self._security.rates, self._security.seats)
            session = Session(self._engine, self._identity, self._limits, client, scope["extensions"][SOCKET], entrance)
            with self._connections.admitted(session.drain), self._watch.over(session.look):
                await self._converse(session, client, receive, send)
        except OSError:
            return  # the client has gone: nobody is left to tell
        except EventRouterError as error:
            self._door.refused(error)
            await problem_response(error)(scope, receive, send)

    async def _way_in(self, scope: Scope) -> Callable[[str | None], Awaitable[Access]]:
        """Return what admits a hello; credentials that come with the upgrade are checked before it is granted.

        Raises Unauthenticated and Unavailable.
        """
        credentials = self._door.shown(scope)
        shown = credentials.token is not None or credentials.certificate is not None
        access = await self._door.admit(credentials) if shown else None

        async def admit(token: str | None) -> Access:
            if token is None and access is not None:
                return access
            return await self._door.admit(credentials._replace(token=token))

        return admit

    async def _converse(self, session: Session, client: Client, receive: Receive, send: Send) -> None:
        async def gone() -> None:
            while (message := await receive())["type"] != "websocket.disconnect":
                pass
            if message.get("code") in UNREADABLE:
                client.did(Fault.BAD_FRAMES, UNREADABLE[message["code"]])

        session.listen()
        await send({"type": "websocket.accept"})
        closing: Closing | None
        try:
            closing = await session.run(gone)
        except Exception as error:  # noqa: BLE001 - the border: it is logged, and the client told where
            closing = Closing(FAILED, unexpected(error, "websocket").detail)
        if closing is not None:
            # Who does not read will not read this either; then the end of the connection has to do.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.drain_s):
                    await send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})
