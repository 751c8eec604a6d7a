"""The listening socket: starting, stopping, and what a stop does to those who are connected."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress

import aiohttp
import pytest

from router_node.config import Settings
from router_node.edges.server import listen, serve
from router_node.node import embedded
from tests.edges.served import Served

SETTINGS = Settings(node_id="one", cluster="test", max_body_bytes=2048)


async def test_a_node_serves_until_it_is_told_to_stop_and_leaves_signals_alone() -> None:
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with embedded() as node, asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve(
                node.engine,
                node.management,
                SETTINGS,
                node.metrics.text,
                node.conduct,
                stop,
                address.set_result,
                host="127.0.0.1",
                port=0,
                security=node.security,
            )
        )
        url = await asyncio.wait_for(address, 5)
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
        async with aiohttp.ClientSession(url) as http:
            async with http.get("/metrics") as response:
                assert b"er_events_accepted" in await response.read()
            async with http.post("/v1/events", data=b" " * 3000) as response:
                assert response.status in (413, 415)
            async with http.ws_connect("/v1/ws") as link:
                await link.send_str('{"op":"hello","version":1}')
                assert (await link.receive_json())["cluster"] == "test"
                stop.set()
                assert await link.receive_json() == {"op": "draining"}
                assert (await link.receive()).data == 1001
    with pytest.raises(OSError):  # noqa: PT011 - refused, whatever the number
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


async def test_cancelling_breaks_off_at_once() -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with embedded() as node:
        serving = asyncio.create_task(
            serve(
                node.engine,
                node.management,
                SETTINGS,
                node.metrics.text,
                node.conduct,
                asyncio.Event(),
                address.set_result,
                host="127.0.0.1",
                port=0,
                security=node.security,
            )
        )
        url = await asyncio.wait_for(address, 5)
        async with aiohttp.ClientSession(url) as http, http.ws_connect("/v1/ws") as link:
            serving.cancel()
            await asyncio.wait([serving], timeout=5)
            assert serving.cancelled()
            assert (await link.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)


async def test_a_head_without_end_is_cut_off(node: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
    async with asyncio.timeout(5):
        # Whichever the client sees first: the answer, or that nobody takes its data any more.
        with suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"y" * 4096)
                await writer.drain()
                await asyncio.sleep(0)
        with suppress(ConnectionError):
            await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    async with aiohttp.ClientSession(node.url) as http, http.get("/healthz", headers={"x": "y" * 5000}) as response:
        assert response.status == 200


def test_answers_are_not_held_back_by_the_kernel() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_an_address_in_use_is_an_error_and_not_the_end_of_the_process() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1])


def test_an_address_is_shared_only_by_those_who_all_say_so() -> None:
    with listen("127.0.0.1", 0, reuse_port=True) as first:
        port = first.getsockname()[1]
        listen("127.0.0.1", port, reuse_port=True).close()
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", port)
