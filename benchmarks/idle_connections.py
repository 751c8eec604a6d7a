"""Opens WebSocket connections that do nothing: they have said hello, and have a subscription or none."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack

import orjson
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.role import say, told

_HELLO = '{"op":"hello","version":1}'


async def open_one(stack: AsyncExitStack, url: str, topic: str | None) -> None:
    """Open a connection and say hello; with a topic, subscribe to it for as long as the connection lives."""
    connection = await stack.enter_async_context(connect(url, compression=None))
    await _ask(connection, _HELLO, "welcome")
    if topic:
        subscribe = {"op": "subscribe", "ref": 1, "topics": [topic], "durable": False}
        await _ask(connection, orjson.dumps(subscribe).decode(), "subscribed")


async def _ask(connection: ClientConnection, frame: str, answer: str) -> None:
    await connection.send(frame)
    answered = orjson.loads(await connection.recv())
    if answered["op"] != answer:
        raise RuntimeError(f"the node answered {answered}")


async def main() -> None:
    """Open all, and hold them until told to leave."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--subscribe", action="store_true", help="with an ephemeral subscription each")
    chosen = parser.parse_args()
    async with AsyncExitStack() as stack:
        for number in range(chosen.count):
            await open_one(stack, chosen.url, f"idle.{number}" if chosen.subscribe else None)
        say(ready=True)
        await told()


if __name__ == "__main__":
    asyncio.run(main())
