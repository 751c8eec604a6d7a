"""The fault proxy in front of an echo server: every fault as a client and as the target sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.ports import free_port

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EchoServer:
    """Sends back what it gets; ``ended`` holds how each connection ended: b"" for an end, else the error."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[object] = asyncio.Queue()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[EchoServer]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._echo(reader, writer))
        self._tasks.add(task)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
            self.ended.put_nowait(b"")
        except ConnectionError as error:
            self.ended.put_nowait(error)
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[EchoServer]:
    async with EchoServer().listening() as server:
        yield server


@pytest.fixture
async def proxy(echo: EchoServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


@pytest.fixture
async def connection(proxy: FaultProxy) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed((reader, writer), b"hello") == b"hello"
    yield reader, writer
    writer.close()


async def echoed(connection: Connection, data: bytes) -> bytes:
    reader, writer = connection
    writer.write(data)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(data))


async def hears_nothing(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_it_forwards_both_ways_and_passes_the_end_on(connection: Connection, echo: EchoServer) -> None:
    data = bytes(range(256)) * 4096
    reader, writer = connection
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.drain())
        assert await echoed(connection, data) == data
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert await asyncio.wait_for(echo.ended.get(), 5) == b""


async def test_delay_holds_each_way(connection: Connection, proxy: FaultProxy) -> None:
    loop = asyncio.get_running_loop()
    proxy.delay(0.2)
    start = loop.time()
    await echoed(connection, b"slow")
    assert loop.time() - start >= 0.4
    proxy.delay(0)
    start = loop.time()
    await echoed(connection, b"fast")
    assert loop.time() - start < 0.4


async def test_a_stalled_proxy_delivers_when_it_flows_again(connection: Connection, proxy: FaultProxy) -> None:
    reader, writer = connection
    proxy.stall()
    writer.write(b"held")
    assert await hears_nothing(reader)
    proxy.flow()
    assert await asyncio.wait_for(reader.readexactly(4), 5) == b"held"


async def test_a_stalled_proxy_takes_connections(proxy: FaultProxy) -> None:
    proxy.stall()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await hears_nothing(reader)
    proxy.flow()
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
    writer.close()


@pytest.mark.parametrize("stalled", [False, True])
async def test_dropped_connections_are_reset_on_both_sides(
    connection: Connection, proxy: FaultProxy, echo: EchoServer, stalled: bool
) -> None:
    if stalled:
        proxy.stall()
    proxy.drop_connections()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(connection[0].read(), 5)
    assert isinstance(await asyncio.wait_for(echo.ended.get(), 5), ConnectionResetError)
    assert proxy.connections == 0


async def test_after_a_drop_new_connections_are_served(connection: Connection, proxy: FaultProxy) -> None:
    proxy.drop_connections()
    fresh = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(fresh, b"again") == b"again"
    fresh[1].close()


async def test_refusing_spares_open_connections_and_ends(connection: Connection, proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(connection, b"still here") == b"still here"
    await proxy.accept()
    fresh = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(fresh, b"welcome") == b"welcome"
    fresh[1].close()


async def test_a_half_open_client_sends_into_the_void(
    connection: Connection, proxy: FaultProxy, echo: EchoServer
) -> None:
    reader, writer = connection
    proxy.half_open()
    assert isinstance(await asyncio.wait_for(echo.ended.get(), 5), ConnectionResetError)
    for _ in range(3):
        writer.write(b"anybody there?")
        await writer.drain()
        assert await hears_nothing(reader)
    fresh = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(fresh, b"hello") == b"hello"
    fresh[1].close()


async def test_a_target_that_is_away_resets_the_client() -> None:
    async with FaultProxy("127.0.0.1", free_port()) as astray:
        reader, writer = await asyncio.open_connection("127.0.0.1", astray.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_leaving_ends_what_is_open(echo: EchoServer) -> None:
    async with FaultProxy("127.0.0.1", echo.port) as proxy:
        connection = await asyncio.open_connection("127.0.0.1", proxy.port)
        await echoed(connection, b"hello")
        proxy.stall()
    assert await asyncio.wait_for(connection[0].read(), 5) == b""
    connection[1].close()
