"""Connections between requests: each in time, all within their number, and who works is served beside them."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import orjson
import pytest

from router_node.edges.conduct import Conduct, Fault
from router_node.edges.limits import Limits
from router_node.edges.lobby import Lobby
from router_node.node import embedded
from tests.edges.served import Served, served

GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def node_with(**limits: Any) -> AsyncIterator[Served]:
    async with embedded() as running, served(running.engine, running.management, **limits) as node:
        yield node


@asynccontextmanager
async def connected(node: Served) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the node closes the connection."""
    async with asyncio.timeout(10):
        return await reader.read()


def problem_of(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem: dict[str, Any] = orjson.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem


def faults(node: Served) -> Any:
    return node.app.connections.conduct.counts


async def test_who_sends_nothing_is_closed() -> None:
    async with node_with(head_timeout_s=0.2) as node, connected(node) as (reader, _):
        assert await ended(reader) == b""
        assert faults(node)[Fault.SLOW_HEADS] == 1


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with node_with(head_timeout_s=0.4) as node, connected(node) as (reader, writer):
        closed = asyncio.create_task(ended(reader))
        for byte in GET * 20:
            if closed.done() or writer.is_closing():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        with suppress(ConnectionError):  # what was sent meanwhile may have the answer thrown away
            assert problem_of(await closed)["field"] == "head"
        assert closed.done()
        assert faults(node)[Fault.SLOW_HEADS] == 1


async def test_a_second_head_that_comes_slowly_is_not_waited_for_either() -> None:
    async with node_with(head_timeout_s=0.3) as node, connected(node) as (reader, writer):
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(GET)
        assert problem_of(await ended(reader))["code"] == "request_timeout"


async def test_one_that_rests_is_closed_in_time_and_not_before() -> None:
    async with node_with(keep_alive_s=0.5) as node, connected(node) as (reader, writer):
        for _ in range(3):
            writer.write(GET + b"\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.2)
        # Line breaks before a request are allowed, and no request: they do not keep a connection.
        closed = asyncio.create_task(ended(reader))
        while not closed.done():
            writer.write(b"\r\n")
            await asyncio.sleep(0.05)
        assert await closed == b""


async def test_who_is_served_is_not_hurried() -> None:
    async with node_with(head_timeout_s=0.1, keep_alive_s=0.1) as node, aiohttp.ClientSession(node.url) as http:
        await http.put("/v1/subscriptions/s", json={"topics": ["a"]})
        async with http.get("/v1/stream?topic=a") as stream, http.ws_connect("/v1/ws") as link:
            async with http.post("/v1/subscriptions/s/pull", json={"wait_s": 0.6}) as response:
                assert response.status == 200
            await link.send_json({"op": "hello", "version": 1})
            assert (await link.receive_json())["op"] == "welcome"
            await http.post("/v1/events", json={"type": "a", "id": "e"})
            assert b"retry" in await stream.content.readline()
            async with asyncio.timeout(5):
                while b"id: e" not in await stream.content.readline():
                    pass


async def test_who_has_rested_longest_makes_room() -> None:
    async with node_with(max_sockets=10) as node, AsyncExitStack() as stack:
        resting = [await stack.enter_async_context(connected(node)) for _ in range(10)]
        for reader, writer in resting:
            writer.write(GET + b"\r\n")
            await reader.readuntil(b"}")
        for number in range(5):
            async with connected(node) as (reader, writer):
                writer.write(GET + b"connection: close\r\n\r\n")
                assert (await ended(reader)).startswith(b"HTTP/1.1 200")
            assert await ended(resting[0][0]) == b""
            assert not resting[1][0].at_eof()
            # The place of one that is gone is free again: no other has to go.
            assert faults(node)[Fault.CROWDED_OUT] == 1, number


async def test_when_nobody_rests_a_new_one_is_told_to_come_again() -> None:
    async with node_with(max_sockets=3) as node, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(connected(node))
        async with asyncio.timeout(5):
            while True:
                async with connected(node) as (reader, _):
                    if answer := await ended(reader):
                        break
        assert problem_of(answer)["code"] == "overloaded"
        assert b"retry-after: 1" in answer
        assert faults(node)[Fault.REFUSED_CONNECTIONS] >= 1


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "invalid"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "invalid"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "invalid"),
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400, "invalid"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid"),
        (GET + b"x: y\r\n" * 200 + b"\r\n", 431, "head_too_large"),
        (b"POST /v1/events HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"content-length: 2\r\n\r\n{}", 431, "head_too_large"),
    ],
)
async def test_what_is_no_request_is_answered_with_a_problem(node: Served, sent: bytes, status: int, code: str) -> None:
    async with connected(node) as (reader, writer):
        writer.write(sent)
        problem = problem_of(await ended(reader))
        assert (problem["status"], problem["code"], problem["field"]) == (status, code, "head")


async def test_ten_thousand_that_rest_do_not_hurt() -> None:
    """As many as there may be open files: both ends of a connection are this process's."""
    most = min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000) // 2)
    async with node_with(max_sockets=most) as node, AsyncExitStack() as stack:
        for _ in range(0, most + 100, 100):
            async with asyncio.TaskGroup() as tasks:
                opening = [tasks.create_task(asyncio.open_connection("127.0.0.1", node.port)) for _ in range(100)]
            for task in opening:
                _, writer = task.result()
                stack.callback(writer.close)
                writer.write(GET + b"\r\n")
            for task in opening:
                async with asyncio.timeout(10):
                    await task.result()[0].readuntil(b"}")
        async with aiohttp.ClientSession(node.url) as http:
            for number in range(20):
                async with http.post("/v1/events", json={"type": "a", "id": f"e{number}"}) as response:
                    assert response.status == 202
        assert faults(node)[Fault.CROWDED_OUT] > 0
        assert faults(node)[Fault.REFUSED_CONNECTIONS] == 0


class Counted:
    def __init__(self) -> None:
        self.ends: list[str] = []

    def dismiss(self) -> None:
        self.ends.append("dismissed")

    def refuse_late(self) -> None:
        self.ends.append("late")


def test_who_waits_is_sent_away_when_it_is_time() -> None:
    clock = [0.0]
    lobby = Lobby(Limits(head_timeout_s=10, keep_alive_s=30), Conduct(), lambda: clock[0])
    silent, slow, resting, served_now = (Counted() for _ in range(4))
    for guest in (silent, slow, resting, served_now):
        assert lobby.came(guest, 1)
    for guest in (resting, served_now):
        lobby.begins(guest)
        lobby.asks(guest)
    lobby.rests(resting)
    clock[0] = 5.0
    lobby.begins(slow)  # it has until its connection is ten seconds old all the same
    lobby.look()
    assert len(lobby) == 3
    clock[0] = 10.0
    lobby.look()
    assert (silent.ends, slow.ends, resting.ends) == (["late"], ["late"], [])
    clock[0] = 29.0
    lobby.begins(resting)
    clock[0] = 38.0
    lobby.look()
    assert resting.ends == []
    clock[0] = 39.0
    lobby.look()
    assert (resting.ends, served_now.ends, len(lobby)) == (["late"], [], 0)
