"""Commands on one Redis server: a few connections, each shared by many calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Command, Ending, Hear, Script, reply_of
from partitioning.redis_connection import Find, RedisConnection, connection_maker
from partitioning.redis_url import Address
from partitioning.redis_wire import RedisListener, RedisWire

_AWAY = (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError)


class RedisPipeline:
    """Runs batches of commands, each as one write and one read of all replies.

    A call goes to the connection with the least under way, to a new one when all are busy and there are fewer than
    ``connections``; what waits for replicas has others of its own. Safe to cancel. With ``find``, every new connection
    goes where that says, and ``url`` gives no more than the options.
    """

    def __init__(
        self,
        url: str,
        scripts: Sequence[Script],
        *,
        connections: int = 4,
        timeout_s: float = 5.0,
        find: Find | None = None,
    ) -> None:
        self._new_connection = connection_maker(url, timeout_s, find)
        self._connections = connections
        self._scripts = {script.sha: script for script in scripts}
        self._timeout_s = timeout_s
        self._quick = _Wires()
        self._patient = _Wires()
        self._told = _Wires()
        self._listeners: set[RedisListener] = set()

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order and return one reply each; an error reply is returned in its place.

        Raises RedisUnavailable when the connection failed or timed out: then any of the commands may have run.
        """
        if not commands:
            return []
        waits = any(command[0] == "WAIT" for command in commands)
        try:
            replies = await self._exchange(commands, self._patient if waits else self._quick)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                async with asyncio.timeout(self._timeout_s):
                    await self._load(commands, replies)
            return replies
        except _AWAY as error:
            raise RedisUnavailable(f"Redis did not answer: {error or 'time-out'}") from error

    async def one(self, command: Command) -> Any:
        """Run one command and return its reply. Raises RedisUnavailable, also when the reply is an error."""
        return reply_of(command, (await self.run([command]))[0])

    def can_tell(self) -> bool:
        """See Commands."""
        wire = self._told.least_busy()
        return wire is not None and wire.takes_more

    def tell(self, commands: Sequence[Command]) -> bool:
        """See Commands."""
        wire = self._told.least_busy()
        if wire is None:
            return False
        try:
            wire.tell(commands)
        except RedisConnectionError:
            return False
        return True

    async def ready_to_tell(self) -> None:
        """See Commands."""
        try:
            while not self.can_tell():
                wire = self._told.least_busy() or await self._another(self._told)
                await wire.writable()
        except _AWAY as error:
            raise RedisUnavailable(f"Redis cannot be told anything: {error or 'time-out'}") from error

    @asynccontextmanager
    async def listening(
        self, channels: Sequence[str], hear: Hear, heard: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Ending]:
        """See Commands."""
        listener: RedisListener | None = None
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    listener = RedisListener(await self._connect(), hear, heard)
                    self._listeners.add(listener)
                    await listener.subscribe(channels)
            except (RedisError, TimeoutError, OSError) as error:
                raise RedisUnavailable(f"Redis did not let us listen: {error or 'time-out'}") from error
            yield partial(_ended, listener)
        finally:
            if listener is not None:
                self._listeners.discard(listener)
                listener.close()

    async def renew(self) -> None:
        """Use none of the present connections again: the idle ones are closed now, the others when they are done."""
        for wire in self._retired():
            wire.retire()

    async def close(self, *, but_to: Address | None = None) -> None:
        """Close all connections now, busy ones ``but_to`` one server excepted.

        Who waits on one, listeners too, gets RedisUnavailable; later calls open new ones.
        """
        for wire in self._retired():
            if but_to is None or wire.peer != but_to:
                wire.close()
            else:
                wire.retire()
        for listener in list(self._listeners):
            if but_to is None or listener.peer != but_to:
                listener.close()

    def _retired(self) -> list[RedisWire]:
        old = self._quick, self._patient, self._told
        self._quick, self._patient, self._told = _Wires(), _Wires(), _Wires()
        for wires in old:
            wires.retired = True
        return [wire for wires in old for wire in wires.open]

    async def _load(self, commands: Sequence[Command], replies: list[Any]) -> None:
        """Load the scripts that the server does not know, and put the replies of what needed them in their place."""
        missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        shas = {str(commands[i][1]) for i in missing}
        await self._exchange([("SCRIPT", "LOAD", self._scripts[sha].source) for sha in shas], self._patient)
        # What waits for replicas has to wait for what is written only now.
        missing += [i for i, command in enumerate(commands) if command[0] == "WAIT"]
        again = await self._exchange([commands[i] for i in missing], self._patient)
        for i, reply in zip(missing, again, strict=True):
            replies[i] = reply

    async def _exchange(self, commands: Sequence[Command], wires: _Wires) -> list[Any]:
        wire = wires.least_busy()
        if wire is None or (wire.under_way and len(wires.open) < self._connections):
            wire = await self._another(wires)
        return await wire.exchange(commands)

    async def _another(self, wires: _Wires) -> RedisWire:
        async with asyncio.timeout(self._timeout_s), wires.opening:
            idle = wires.least_busy()
            if idle is not None and (not idle.under_way or len(wires.open) >= self._connections):
                return idle
            wire = RedisWire(await self._connect(), self._timeout_s)
            if wires.retired:
                wire.close()
                raise RedisConnectionError("the connections are being replaced; try again")
            wires.open.append(wire)
            return wire

    async def _connect(self) -> RedisConnection:
        connection = self._new_connection()
        try:
            await connection.connect()
        except (ResponseError, InvalidResponse) as error:
            raise RedisConnectionError(f"the server does not let us in: {error}") from error
        return connection


async def _ended(listener: RedisListener) -> None:
    try:
        await listener.end()
    except RedisError as error:
        raise RedisUnavailable(f"the connection to listen on is lost: {error}") from error


class _Wires:
    """Connections for the same kind of call."""

    def __init__(self) -> None:
        self.open: list[RedisWire] = []
        self.opening = asyncio.Lock()
        self.retired = False

    def least_busy(self) -> RedisWire | None:
        """Return the connection with the least under way; None when there is none."""
        if any(wire.lost for wire in self.open):
            self.open = [wire for wire in self.open if wire.lost is None]
        return min(self.open, key=_under_way, default=None)


def _under_way(wire: RedisWire) -> int:
    return wire.under_way
