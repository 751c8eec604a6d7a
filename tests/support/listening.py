"""Messages of pub/sub, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from partitioning.redis_commands import Commands


@asynccontextmanager
async def heard_by(commands: Commands, *channels: str) -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
    """Yield (channel, payload) of each message; the iterator raises RedisUnavailable when the connection is lost."""
    heard: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()

    def hear(channel: str, payload: bytes) -> None:
        heard.put_nowait((channel, payload))

    async with commands.listening(channels, hear) as ending:
        lost = asyncio.create_task(ending())
        lost.add_done_callback(lambda _: heard.put_nowait(None))

        async def messages() -> AsyncIterator[tuple[str, bytes]]:
            while (message := await heard.get()) is not None:
                yield message
            await lost

        try:
            yield messages()
        finally:
            lost.cancel()
            await asyncio.wait([lost])
            if not lost.cancelled():
                lost.exception()
