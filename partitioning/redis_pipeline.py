"""Many commands to Redis in one write: packed by hiredis itself, which costs a third of redis-py's own packing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Command, Script, reply_of
from partitioning.redis_connection import Find, connection_options
from partitioning.redis_url import Address


class RedisPipeline:
    """Runs batches of commands on pooled connections, each batch as one write and one read of all replies.

    Safe to cancel: a connection with replies outstanding is dropped, never given to the next caller. With ``find``,
    every new connection goes where that says, and ``url`` gives no more than the options.
    """

    def __init__(
        self,
        url: str,
        scripts: Sequence[Script],
        *,
        connections: int = 16,
        timeout_s: float = 5.0,
        find: Find | None = None,
    ) -> None:
        self._options = connection_options(url, timeout_s) | {"max_connections": connections, "timeout": timeout_s}
        if find is not None:
            self._options["find"] = find
        self._pool = self._new_pool()
        self._busy: set[AbstractConnection] = set()
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
                    # What waits for replicas has to wait for what is written only now.
                    missing += [i for i, command in enumerate(commands) if command[0] == "WAIT"]
                    again = await self._exchange([commands[i] for i in missing])
                    for i, reply in zip(missing, again, strict=True):
                        replies[i] = reply
                return replies
        except (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError) as error:
            raise RedisUnavailable(f"Redis did not answer: {error or 'time-out'}") from error

    async def one(self, command: Command) -> Any:
        """Run one command and return its reply. Raises RedisUnavailable, also when the reply is an error."""
        return reply_of(command, (await self.run([command]))[0])

    @asynccontextmanager
    async def subscribed(self, *channels: str) -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
        """See Commands."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._busy.add(connection)
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
            self._busy.discard(connection)
            await asyncio.shield(connection.disconnect(nowait=True))

    async def _messages(self, connection: AbstractConnection) -> AsyncIterator[tuple[str, bytes]]:
        while True:
            try:
                message = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except (RedisError, OSError) as error:
                raise RedisUnavailable(f"the connection to listen on is lost: {error}") from error
            if message[0] == b"message":
                yield message[1].decode(), message[2]

    async def renew(self) -> None:
        """Use none of the present connections again: the idle ones are closed now, the others when they are done."""
        old, self._pool = self._pool, self._new_pool()
        await asyncio.shield(old.disconnect(inuse_connections=False))

    async def close(self, *, but_to: Address | None = None) -> None:
        """Close all connections now, busy ones ``but_to`` one server excepted.

        Who waits on one, listeners too, gets RedisUnavailable; later calls open new ones.
        """
        old, self._pool = self._pool, self._new_pool()
        busy = [connection for connection in self._busy if but_to is None or _peer(connection) != but_to]
        closing = (old.disconnect(inuse_connections=False), *(each.disconnect(nowait=True) for each in busy))
        await asyncio.shield(asyncio.gather(*closing, return_exceptions=True))

    def _new_pool(self) -> BlockingConnectionPool:
        return BlockingConnectionPool(**self._options)

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        pool = self._pool
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
        whole = False
        self._busy.add(connection)
        try:
            await _send(connection, commands)
            replies = [await _reply(connection) for _ in commands]
            whole = pool is self._pool
            return replies
        finally:
            self._busy.discard(connection)
            if not whole:
                await asyncio.shield(connection.disconnect(nowait=True))
            await pool.release(connection)


def _peer(connection: AbstractConnection) -> Address | None:
    host, port = getattr(connection, "host", None), getattr(connection, "port", None)
    return (host, port) if host is not None and port is not None else None


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
    except (ResponseError, BusyLoadingError) as error:
        return error
