"""Publishes that are heard past ASGI: answered byte for byte as by ASGI, and no less bound by what holds for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from router_client.errors import EventRouterError, Overloaded, Unavailable
from router_client.event import Event
from router_node.contract import Results
from router_node.edges.http_heard import Answer, Head, HeardPublishes
from router_node.node import Node, embedded
from router_node.security.gate import Access
from router_node.security.permit import Permit
from tests.edges.served import Served, served
from tests.edges.test_http_publish import BAD_EVENTS

GOOD = {"type": "flights.departed.EWR.UA", "payload": {"dep_delay": 2}, "correlation_id": "N14228"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Listening:
    """Hears what ``heard`` does, and counts it; without ``heard`` it leaves everything to ASGI."""

    def __init__(self, heard: HeardPublishes | None) -> None:
        self.heard = heard
        self.count = 0

    def takes(self, head: Head) -> Access | None:
        return None if self.heard is None else self.heard.takes(head)

    def hear(self, body: bytes, access: Access, answer: Callable[[Answer], None]) -> bool:
        heard = self.heard is not None and self.heard.hear(body, access, answer)
        self.count += heard
        return heard


class Holding:
    """An engine that appends when it is told to, or refuses."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.begun = asyncio.Event()
        self.answered = asyncio.Event()
        self.held: list[Callable[[EventRouterError | None], None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    def begin_publish(
        self, objects: Sequence[object], done: Callable[[Results | EventRouterError], None], _: Permit | None = None
    ) -> None:
        def told(results: Results | EventRouterError) -> None:
            done(results)
            self.answered.set()

        def go_on(error: EventRouterError | None) -> None:
            if error is None:
                self.node.begin_publish(objects, told)
            else:
                told(error)

        self.held.append(go_on)
        self.begun.set()

    async def go_on(self, error: EventRouterError | None = None) -> None:
        """Append what is held, or refuse it; return when that is answered."""
        held, self.held = self.held, []
        self.begun.clear()
        self.answered.clear()
        for each in held:
            each(error)
        await self.answered.wait()


@asynccontextmanager
async def holding(**limits: Any) -> AsyncIterator[tuple[Holding, Served]]:
    async with embedded() as node:
        engine = Holding(node)
        async with served(engine, node.management, **limits) as server:
            yield engine, server


class Line:
    """A connection, to write to and read answers from."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[bytes, bytes]:
        """Return the head of the next answer, without its date, and its body."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")]
            length = next((int(line[16:]) for line in lines if line.startswith(b"content-length: ")), 0)
            return b"\r\n".join(lines), await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Return whether the server ends the connection without another word."""
        async with asyncio.timeout(5):
            return await self.reader.read(1) == b""

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request and return its answer."""
        self.writer.write(request)
        return await self.answer()


@asynccontextmanager
async def line(server: Served) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def request(
    body: bytes, *headers: str, target: str = "/v1/events", content_type: str = "application/json", version: str = "1.1"
) -> bytes:
    lines = [
        f"POST {target} HTTP/{version}",
        "Host: x",
        f"Content-Type: {content_type}",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join((*lines, *headers, "", "")).encode() + body


def event(event_id: str, **members: Any) -> bytes:
    return orjson.dumps({**GOOD, "id": event_id, **members})


KEPT = Event(**{**GOOD, "id": "kept"}).encode()  # type: ignore[arg-type]  # its members are as named
HEARD: list[bytes] = [
    request(KEPT),
    request(KEPT),
    request(KEPT, "Authorization: Bearer x", "User-Agent: y", "Accept: */*"),
    request(event("by-hand")),
    request(b'{ "type": "a", "id": "spaced" }'),
    request(event("later", deliver_at="2999-01-01T00:00:00Z")),
    *(request(body) for body, _, _ in BAD_EVENTS if body.startswith(b"{") and len(body) < 10_000),
]
LEFT_TO_ASGI: list[bytes] = [
    *(request(body) for body, _, _ in BAD_EVENTS if not body.startswith(b"{")),
    request(event("asked"), target="/v1/events?ack=accepted"),
    request(event("stored"), target="/v1/events?ack=stored"),
    request(event("asked"), target="/v1/events?colour=red"),
    request(orjson.dumps([orjson.loads(event("one")), {"type": ""}])),
    request(b" " + event("blank")),
    request(event("line"), content_type="application/x-ndjson"),
    request(event("text"), content_type="application/xml"),
    request(event("charset"), content_type="application/json; charset=utf-8"),
    request(event("latin"), content_type="application/json; charset=latin-1"),
    request(event("zip"), "Content-Encoding: gzip"),
    request(event("traced"), f"Traceparent: {TRACE}"),
    request(b'{"x": 1}', "CE-specversion: 1.0", "ce-id: c", "ce-source: /faa", "ce-type: flights.arrived"),
    request(event("padded", payload={"text": "x" * 5000})),
    request(event("put")).replace(b"POST", b"PUT", 1),
    request(event("elsewhere"), target="/v1/event"),
]


@pytest.mark.parametrize(("requests", "heard"), [(HEARD, True), (LEFT_TO_ASGI, False)], ids=["heard", "left"])
async def test_a_publish_is_answered_as_by_asgi(requests: list[bytes], heard: bool) -> None:
    answers: list[list[tuple[bytes, bytes]]] = []
    counts: list[int] = []
    for hears in (True, False):
        async with embedded() as node, served(node.engine, node.management, max_body_bytes=4096) as server:
            found = server.app.publishes
            assert isinstance(found, HeardPublishes)
            server.app.publishes = listening = Listening(found if hears else None)
            async with line(server) as client:
                answers.append([await client.ask(each) for each in requests])
            counts.append(listening.count)
    assert answers[0] == answers[1]
    assert counts == [len(requests) if heard else 0, 0]


async def test_what_does_not_come_whole_or_ends_the_connection_is_answered_too(node: Served) -> None:
    whole = request(event("slow"))
    cut = len(whole) - 20
    async with line(node) as client:
        client.writer.write(whole[:cut])
        await client.writer.drain()
        async with node_request(node) as other:
            await other
        head, body = await client.ask(whole[cut:])
        assert (head[:12], orjson.loads(body)["id"]) == (b"HTTP/1.1 202", "slow")
        chunked = request(b"", "Transfer-Encoding: chunked").replace(b"content-length: 0\r\n", b"")
        body = event("chunked")
        _, answer = await client.ask(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert orjson.loads(answer)["id"] == "chunked"
        head, _ = await client.ask(request(event("expected"), "Expect: 100-continue"))
        assert head.startswith(b"HTTP/1.1 100 ")
        assert orjson.loads((await client.answer())[1])["id"] == "expected"
        head, _ = await client.ask(request(event("last"), "Connection: close"))
        assert b"\r\nconnection: close\r\n" in head
        assert await client.ended()
    async with line(node) as client:
        head, body = await client.ask(request(event("old"), version="1.0"))
        assert (b"\r\nconnection: close\r\n" in head, orjson.loads(body)["id"]) == (True, "old")
        assert await client.ended()


@asynccontextmanager
async def node_request(node: Served) -> AsyncIterator[asyncio.Task[tuple[bytes, bytes]]]:
    """Ask something on another connection: when it is answered, what was written before has been read."""
    async with line(node) as other, asyncio.TaskGroup() as tasks:
        yield tasks.create_task(other.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"))


async def test_requests_sent_at_once_are_answered_in_their_order(node: Served) -> None:
    batch = orjson.dumps([orjson.loads(event(f"b{n}")) for n in range(2)])
    requests = (
        request(event("a")),
        request(event("")),
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        request(batch),
        request(event("c")),
        request(event("d")),
    )
    async with line(node) as client:
        for _ in range(3):
            client.writer.write(b"".join(requests))
        for _ in range(3):
            statuses = [(await client.answer())[0][9:12] for _ in requests]
            assert statuses == [b"202", b"400", b"200", b"200", b"202", b"202"]


async def test_a_stopping_node_answers_what_it_has_heard_and_closes() -> None:
    async with holding() as (engine, server), line(server) as idle, line(server) as client:
        client.writer.write(request(event("heard")))
        await engine.begun.wait()
        server.stop.set()
        assert await idle.ended()
        await engine.go_on()
        head, body = await client.answer()
        assert orjson.loads(body)["id"] == "heard"
        assert b"\r\nconnection: close\r\n" in head
        assert await client.ended()
        async with asyncio.timeout(5):
            await server.stopped.wait()


@pytest.mark.parametrize("error", [None, Unavailable("the log is away")])
async def test_who_has_gone_is_not_answered_and_holds_nothing(error: EventRouterError | None) -> None:
    publish = request(event("gone", payload={"text": "x" * 3000}))
    async with holding(max_bodies_bytes=5000) as (engine, server), line(server) as other:
        async with line(server) as client:
            client.writer.write(publish)
            await engine.begun.wait()
        # Answered on a later read, so the end of the first connection has been heard.
        head, _ = await other.ask(publish)
        assert head.startswith(b"HTTP/1.1 429 "), "its bytes are held until the log has answered"
        await engine.go_on(error)
        other.writer.write(publish)
        await engine.begun.wait()
        await engine.go_on()
        assert (await other.answer())[0].startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded("full", retry_after_s=2), 429), (Unavailable("the log is away"), 503)]
)
async def test_a_refusal_of_the_log_is_the_answer(error: EventRouterError, status: int) -> None:
    async with holding() as (engine, server), line(server) as client:
        client.writer.write(request(event("refused")))
        await engine.begun.wait()
        await engine.go_on(error)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert (b"\r\nretry-after: 2\r\n" in head) == (status == 429)
        assert orjson.loads(body)["detail"] == error.detail
