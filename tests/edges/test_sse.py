"""Server-sent events: what is published comes, bad requests are named, bad readers are bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from router_node.edges.limits import Limits
from router_node.edges.sse import CREDIT
from router_node.node import embedded
from tests.edges.served import Served, served
from tests.support.signals import wait_for


class Reader:
    """Reads messages of a stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, str]:
        """Return the next message, comments left out."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            while True:
                line = (await self.response.content.readline()).decode()
                if not line:
                    raise EOFError
                if line == "\n" and fields:
                    return fields
                name, _, value = line.rstrip("\n").partition(": ")
                if name and line != "\n":
                    fields[name] = value

    async def event(self) -> dict[str, str]:
        """Return the next message that is an event."""
        while "data" not in (message := await self.next()):
            pass
        return message


async def publish(http: aiohttp.ClientSession, *types: str, **payload: object) -> None:
    events = [{"type": each, "payload": payload} for each in types]
    async with http.post("/v1/events", json=events) as response:
        assert response.status == 200


async def test_what_is_published_comes_as_it_is(node: Served, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/stream", params=[("topic", "a.*"), ("topic", "c.>")]) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        reader = Reader(response)
        assert await reader.next() == {"retry": "2000"}
        await publish(http, "a.one", "b.none", "c.two.x", text="line\nline")
        first, second = await reader.event(), await reader.event()
    assert {first["event"], second["event"]} == {"a.one", "c.two.x"}
    body = orjson.loads(first["data"])
    assert (body["id"], body["payload"]) == (first["id"], {"text": "line\nline"})


async def test_a_filter_restricts_it(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/stream", params={"topic": ">", "filter": '{"payload.n": {"$gt": 5}}'}) as response:
        reader = Reader(response)
        await reader.next()
        await publish(http, "a.b", n=1)
        await publish(http, "a.b", n=9)
        assert orjson.loads((await reader.event())["data"])["payload"] == {"n": 9}


REFUSED = {
    "no topic": ({}, "topic"),
    "a bad pattern": ({"topic": "a..b"}, "topic[0]"),
    "a filter that is no JSON": ({"topic": ">", "filter": "{"}, "filter"),
    "a filter that is none": ({"topic": ">", "filter": '{"payload.x": {"$near": 1}}'}, "filter"),
    "a buffer too large": ({"topic": ">", "buffer": "10001"}, "buffer"),
    "a policy that blocks": ({"topic": ">", "overflow": "block"}, "overflow"),
    "an unknown policy": ({"topic": ">", "overflow": "x"}, "overflow"),
    "an unknown parameter": ({"topic": ">", "name": "x"}, "name"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_bad_request_is_a_problem_that_names_the_parameter(http: aiohttp.ClientSession, case: str) -> None:
    params, field = REFUSED[case]
    async with http.get("/v1/stream", params=params) as response:
        problem = await response.json(content_type="application/problem+json")
    assert response.status == 400
    assert str(problem["field"]).startswith(field)


async def test_a_client_that_goes_leaves_no_subscription_behind(node: Served, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/stream", params={"topic": ">"}) as response:
        await Reader(response).next()
        assert len(node.app.connections) == 1
        response.close()
    await wait_for(lambda: len(node.app.connections) == 0, 5, "the stream has ended")
    assert await node.management.subscriptions() == []


@pytest.fixture
async def brisk() -> AsyncIterator[Served]:
    async with (
        embedded() as running,
        served(running.engine, running.management, heartbeat_s=0.05, stall_s=0.3) as server,
    ):
        yield server


async def test_it_shows_that_it_is_alive(brisk: Served) -> None:
    async with aiohttp.ClientSession(brisk.url) as http, http.get("/v1/stream", params={"topic": ">"}) as response:
        await Reader(response).next()
        async with asyncio.timeout(5):
            assert await response.content.readline() == b": \n"


async def test_a_reader_that_stalls_is_cut_off_and_costs_a_bounded_buffer(brisk: Served) -> None:
    with socket.create_connection(("127.0.0.1", brisk.port)) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"GET /v1/stream?topic=%3E&buffer=10 HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_for(lambda: len(brisk.app.connections) == 1, 5, "the stream is open")
        async with aiohttp.ClientSession(brisk.url) as http:
            for _ in range(100):
                if len(brisk.app.connections) == 0:
                    break
                await publish(http, *["a.b"] * 20, text="x" * 20_000)
        await wait_for(lambda: len(brisk.app.connections) == 0, 10, "the reader is cut off")
    assert await brisk.management.subscriptions() == []


async def test_one_that_reads_slowly_but_reads_gets_each_event_once(brisk: Served) -> None:
    count, reads = 250, 100_000
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    with raw:
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", brisk.port))
        await loop.sock_sendall(raw, b"GET /v1/stream?topic=%3E HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_for(lambda: len(brisk.app.connections) == 1, 5, "the stream is open")
        await brisk.engine.publish([{"type": "a.b", "payload": {"text": "x" * 100_000}} for _ in range(count)])
        got = b""
        async with asyncio.timeout(40):
            # 25 MB at less than 10 MB a second: all of it takes many times longer than a reader may read nothing.
            while got.count(b"\nid: ") < count:
                more = await loop.sock_recv(raw, reads)
                assert more, "it is cut off"
                got += more
                await asyncio.sleep(0.01)
    ids = [line for line in got.split(b"\n") if line.startswith(b"id: ")]
    assert (len(ids), len(set(ids))) == (count, count)
    assert not brisk.app.connections.conduct.counts


async def test_a_stream_has_no_ack_timeout_to_speak_of(node: Served, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/stream", params={"topic": ">"}) as response:
        await Reader(response).next()
        (found,) = await node.management.subscriptions()
    assert found["ack_timeout_s"] > CREDIT * Limits().stall_s, "all it may hold is sent before that, however slowly"


async def test_a_node_that_stops_says_so_and_ends_it(node: Served, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/stream", params={"topic": ">"}) as response:
        reader = Reader(response)
        await reader.next()
        node.stop.set()
        assert (await reader.event())["event"] == "draining"
        with pytest.raises(EOFError):
            await reader.next()


async def test_streams_are_limited_like_connections() -> None:
    async with (
        embedded() as running,
        served(running.engine, running.management, max_connections=1) as server,
        aiohttp.ClientSession(server.url) as http,
        http.get("/v1/stream", params={"topic": ">"}) as response,
    ):
        await Reader(response).next()
        async with http.get("/v1/stream", params={"topic": ">"}) as refused:
            assert refused.status == 429
