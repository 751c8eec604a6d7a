"""A TCP proxy that misbehaves on demand: slow, stalled, reset, refused or half-open connections without root."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Self

from tests.support.ports import free_port

_CHUNK = 64 * 1024
_CONNECT_WITHIN_S = 5.0
_LINGER_ZERO = struct.pack("ii", 1, 0)


class FaultProxy:
    """Forwards connections on 127.0.0.1:``port`` to the target; faults hold until they are taken back.

    >>> async with FaultProxy("127.0.0.1", redis_server.port) as proxy:
    ...     proxy.stall()
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self.port = free_port()
        self._target = (target_host, target_port)
        self._delay_s = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._connections)

    def delay(self, seconds: float) -> None:
        """Hold every chunk (at most 64 KiB) this long before it goes on, either way; 0 ends that."""
        self._delay_s = seconds

    def stall(self) -> None:
        """Take bytes (as many as buffers hold) and connections, but forward nothing until ``flow``."""
        self._flowing.clear()

    def flow(self) -> None:
        """Forward again, beginning with what was held."""
        self._flowing.set()

    def drop_connections(self) -> None:
        """Reset every connection (RST) on both sides; new ones are served."""
        for task, connection in list(self._connections.items()):
            connection.reset()
            task.cancel()

    def half_open(self) -> None:
        """Cut every present connection off from the target without telling the client: it can send into the void and
        hears nothing, not even an end; the target sees a reset. New connections are served.
        """
        for connection in self._connections.values():
            connection.sever()

    def refuse(self) -> None:
        """Refuse new connections; those open stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def accept(self) -> None:
        """Take new connections again, on the same port."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        task = asyncio.create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).close()

    async def _serve(self, connection: _Connection) -> None:
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                await connection.open_target(*self._target)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._forward(connection))
                pumps.create_task(self._return(connection))
        except* OSError:
            # Either side has reset the connection or the target cannot be reached: the other side learns it likewise.
            connection.reset()

    async def _forward(self, connection: _Connection) -> None:
        while chunk := await connection.client_reader.read(_CHUNK):
            await self._hold()
            await connection.to_target(chunk)
        connection.end_to_target()

    async def _return(self, connection: _Connection) -> None:
        while chunk := await connection.target_reader.read(_CHUNK):
            await self._hold()
            await connection.to_client(chunk)
        connection.end_to_client()

    async def _hold(self) -> None:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self._flowing.wait()


class _Connection:
    """A client's connection and the one to the target that serves it."""

    target_reader: asyncio.StreamReader
    _target: asyncio.StreamWriter | None = None
    _severed = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client_reader = reader
        self._client = writer

    async def open_target(self, host: str, port: int) -> None:
        self.target_reader, self._target = await asyncio.open_connection(host, port)

    async def to_target(self, chunk: bytes) -> None:
        if self._target is None or self._severed:
            return
        self._target.write(chunk)
        try:
            await self._target.drain()
        except ConnectionError:
            if not self._severed:
                raise

    async def to_client(self, chunk: bytes) -> None:
        if not self._severed:
            self._client.write(chunk)
            await self._client.drain()

    def end_to_target(self) -> None:
        if self._target is not None and not self._severed:
            self._target.write_eof()

    def end_to_client(self) -> None:
        if not self._severed:
            self._client.write_eof()

    def sever(self) -> None:
        self._severed = True
        if self._target is not None:
            _reset(self._target)

    def reset(self) -> None:
        for writer in self._writers():
            _reset(writer)

    def close(self) -> None:
        for writer in self._writers():
            writer.close()

    def _writers(self) -> list[asyncio.StreamWriter]:
        return [self._client] if self._target is None else [self._client, self._target]


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()
