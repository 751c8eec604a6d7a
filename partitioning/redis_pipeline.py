"""Many commands to Redis in one write: packed by hiredis itself, which costs a third of redis-py's own packing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Command, Script


class RedisPipeline:
    """Runs batches of commands on pooled connections, each batch as one write and one read of all replies.

    Safe to cancel: a connection with replies outstanding is dropped, never given to the next caller.
    """

    def __init__(self, url: str, scripts: Sequence[Script], *, connections: int = 16, timeout_s: float = 5.0) -> None:
        # No socket_timeout: with one, redis-py writes through asyncio.wait_for, which on Python 3.11 can swallow a
        # cancellation that arrives as the write completes. `run` bounds the whole exchange instead.
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
            protocol=2,
        )
        self._scripts = {script.sha: script for script in scripts}
        self._timeout_s = timeout_s

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order and return one reply each; an error reply is returned in its place.

        Raises RedisUnavailable when the connection failed or timed out: then any of the commands may have run.
        """
        if not commands:
            return []
        try:
            async with asyncio.timeout(self._timeout_s):
                replies = await self._exchange(commands)
                missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                if missing:
                    shas = {str(commands[i][1]) for i in missing}
                    await self._exchange([("SCRIPT", "LOAD", self._scripts[sha].source) for sha in shas])
                    again = await self._exchange([commands[i] for i in missing])
                    for i, reply in zip(missing, again, strict=True):
                        replies[i] = reply
                return replies
        except (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError) as error:
            raise RedisUnavailable(f"Redis did not answer: {error or 'time-out'}") from error

    async def one(self, command: Command) -> Any:
        """Run one command and return its reply. Raises RedisUnavailable, also when the reply is an error."""
        reply = (await self.run([command]))[0]
        if isinstance(reply, RedisError):
            raise RedisUnavailable(f"Redis refused {command[0]!r}: {reply}") from reply
        return reply

    @asynccontextmanager
    async def subscribed(self, *channels: str) -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
        """See Commands."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
                await _send(connection, [("SUBSCRIBE", *channels)])
                for _ in channels:
                    await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            yield self._messages(connection)
        except (RedisError, TimeoutError, OSError) as error:
            raise RedisUnavailable(f"Redis did not let us listen: {error or 'time-out'}") from error
        finally:
            await asyncio.shield(connection.disconnect(nowait=True))

    async def _messages(self, connection: AbstractConnection) -> AsyncIterator[tuple[str, bytes]]:
        while True:
            try:
                message = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except (RedisError, OSError) as error:
                raise RedisUnavailable(f"the connection to listen on is lost: {error}") from error
            if message[0] == b"message":
                yield message[1].decode(), message[2]

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        whole = False
        try:
            await _send(connection, commands)
            replies = [await _reply(connection) for _ in commands]
            whole = True
            return replies
        finally:
            if not whole:
                await asyncio.shield(connection.disconnect(nowait=True))
            await self._pool.release(connection)


def _pack(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub says a tuple of one
    return packed


async def _send(connection: AbstractConnection, commands: Sequence[Command]) -> None:
    try:
        await connection.send_packed_command([_pack(c) for c in commands], check_health=False)
    except RuntimeError as error:
        # uvloop's word for a transport that the peer has reset while it lay in the pool.
        raise RedisConnectionError(str(error)) from error


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except ResponseError as error:
        return error
