"""The least that HTTP to Redis takes on uvicorn: an ASGI route that pipelines one XADD a request and answers then.

The XADDs of requests that come while a pipeline is under way go together in the next one. It checks, deduplicates and
stores nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
import uvloop
from redis.asyncio import Redis

from benchmarks.role import say, told

STREAM = "flights"
Message = MutableMapping[str, Any]
_START = {"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]}
_BODY = {"type": "http.response.body", "body": b""}


class Appender:
    """Appends bodies to a stream, all that wait in one pipeline."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._ring = asyncio.Event()

    async def append(self, body: bytes) -> None:
        """Return when Redis has it."""
        appended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, appended))
        self._ring.set()
        await appended

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._ring.wait()
            self._ring.clear()
            lot, self._waiting = self._waiting, []
            pipeline = self._redis.pipeline(transaction=False)
            for body, _ in lot:
                pipeline.xadd(STREAM, {b"e": body})
            await pipeline.execute()
            for _, appended in lot:
                appended.set_result(None)


class Route:
    """The ASGI application."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await self._appender.append(body)
        await send(_START)
        await send(_BODY)


async def serve(redis_url: str, port: int) -> None:
    """Serve until told to leave."""
    with socket.create_server(("127.0.0.1", port), backlog=2048) as listener:
        async with Redis.from_url(redis_url, socket_timeout=30) as redis, asyncio.TaskGroup() as tasks:
            appender = Appender(redis)
            appending = tasks.create_task(appender.run())
            route: Any = Route(appender)
            config = uvicorn.Config(
                route, http="httptools", lifespan="off", log_config=None, access_log=False, interface="asgi3"
            )
            server = uvicorn.Server(config)
            serving = tasks.create_task(server.serve(sockets=[listener]))
            say(ready=True)
            await told()
            server.should_exit = True
            await serving
            appending.cancel()


def main() -> None:
    """Play the part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(chosen.redis, chosen.port))


if __name__ == "__main__":
    main()
