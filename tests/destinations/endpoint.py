"""An endpoint that webhooks call: a real HTTP server, well-behaved or not, that remembers what it got."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from router_client.errors import EventRouterError
from router_node.config import Settings
from router_node.node import Node, embedded
from stores.ports import AttemptQuery, LoggedAttempt
from tests.support.signals import wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SELF_SIGNED = Path(__file__).with_name("self_signed.pem")
LOCAL = ("127.0.0.0/8",)

Answer = Callable[["Got"], Awaitable[web.StreamResponse]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Got:
    """One request."""

    headers: Mapping[str, str]
    body: bytes
    request: web.Request


@dataclass
class Endpoint:
    """What was received, how it is answered, and how many requests were open at once."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    answer: Answer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        got = Got(request.headers, await request.read(), request)
        self.got.append(got)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self.answer(got) if self.answer else web.Response(text="fine")
        finally:
            self.open -= 1

    async def has(self, count: int, within_s: float = 10.0) -> None:
        await wait_for(lambda: len(self.got) >= count, within_s, f"{count} calls (there are {len(self.got)})")


@asynccontextmanager
async def endpoint(*, tls: bool = False) -> AsyncIterator[Endpoint]:
    """Serve for the length of the block."""
    served = Endpoint()
    app = web.Application(client_max_size=10**7)
    app.router.add_route("*", "/{path:.*}", served.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(SELF_SIGNED)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    host, port = runner.addresses[0][:2]
    served.url = f"{'https' if tls else 'http'}://{host}:{port}/hook"
    try:
        yield served
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_endpoint(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve one that speaks bytes as ``talk`` likes, after the request's head was read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()


@asynccontextmanager
async def router(networks: tuple[str, ...] = LOCAL) -> AsyncIterator[Node]:
    """Run an embedded node whose webhooks may call this machine."""
    settings = Settings(database_url="sqlite:///:memory:", webhook_networks=networks, delivery_log="all")
    async with embedded(settings=settings) as node:
        yield node


async def subscribe(node: Node, url: str, *, retry: Mapping[str, Any] | None = None, **destination: Any) -> None:
    """Have the events of topic a.> sent to a webhook, tried again at once unless said otherwise."""
    again = {"max_attempts": 5, "base_s": 0.01, "jitter": 0, **(retry or {})}
    body = {"topics": ["a.>"], "retry": again, "destination": {"kind": "webhook", "url": url, "secret": SECRET}}
    body["destination"].update(destination)  # type: ignore[attr-defined]
    await node.management.put_subscription("hook", body)


async def publish(node: Node, count: int, **members: Any) -> list[str]:
    """Publish events over distinct keys; returns their ids."""
    events = [{"type": "a.b", "correlation_id": f"k{n}", "payload": {"n": n}, **members} for n in range(count)]
    found = await node.engine.publish(events)
    assert not [each for each in found if isinstance(each, EventRouterError)]
    return [each.id for each in found]  # type: ignore[union-attr]


async def attempts(node: Node, count: int) -> list[LoggedAttempt]:
    """Wait until the delivery log has so many attempts; returns them, oldest first."""
    found: list[LoggedAttempt] = []

    async def enough() -> bool:
        page = await node.management.deliveries(AttemptQuery(subscription="hook", descending=False, limit=1000))
        found[:] = page.attempts
        return len(found) >= count

    await wait_for(enough, 10, f"{count} attempts are logged")
    return found
