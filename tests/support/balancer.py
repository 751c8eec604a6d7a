"""A load balancer of the test's own: TCP, round robin over the backends that call themselves ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from tests.support.ports import free_port

_CHUNK = 64 * 1024
_CONNECT_WITHIN_S = 1.0
_LOOK_EVERY_S = 0.1
_ANSWERS_WITHIN_S = 1.0


class Balancer:
    """Forwards each connection to 127.0.0.1:``port`` to the next backend whose GET /readyz answers 200.

    ``backends`` are ports of 127.0.0.1, looked at every 100 ms. Connections to a backend that is no longer ready stay;
    those to one that has died end with it. With no backend to take it a connection is closed at once. HTTP and
    WebSocket pass alike.

    >>> async with Balancer([one.port, two.port]) as balancer:
    ...     await publish_to(balancer.url)
    """

    def __init__(self, backends: Sequence[int]) -> None:
        self.port = free_port()
        self.ready: set[int] = set()
        self._backends = list(backends)
        self._turn = 0
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Base URL in front of all backends, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        for backend in self._backends:
            self._run(asyncio.create_task(self._watch(backend), name=f"readiness of {backend}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._run(asyncio.create_task(self._serve(reader, writer), name="balanced connection"))

    async def _watch(self, backend: int) -> None:
        while True:
            if await _is_ready(backend):
                self.ready.add(backend)
            else:
                self.ready.discard(backend)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found = await self._backend()
            if found is None:
                return
            there, to_backend = found
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(_pump(reader, to_backend))
                    pumps.create_task(_pump(there, writer))
            finally:
                to_backend.transport.abort()
        except* OSError:
            writer.transport.abort()
        finally:
            writer.close()

    async def _backend(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._backends:
            self._turn = (self._turn + 1) % len(self._backends)
            port = self._backends[self._turn]
            if port in self.ready:
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(_CONNECT_WITHIN_S):
                        return await asyncio.open_connection("127.0.0.1", port)
        return None


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    sink.write_eof()


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False
