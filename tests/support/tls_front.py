"""TLS in front of a server that speaks none: what a client encrypts is handed on in the clear, on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = 64 * 1024


@asynccontextmanager
async def tls_front(port: int, target_port: int, context: ssl.SSLContext) -> AsyncIterator[None]:
    """Listen on 127.0.0.1:``port`` for the length of a block."""
    open_: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        task.add_done_callback(open_.discard)
        target_reader, target = await asyncio.open_connection("127.0.0.1", target_port)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, target))
                pumps.create_task(_pump(target_reader, writer))
        except* (ConnectionError, ssl.SSLError):
            pass
        finally:
            target.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield
    finally:
        server.close()
        tasks = list(open_)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.close()
