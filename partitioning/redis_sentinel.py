"""The primary that Redis Sentinel names: asked for each connection, and left as soon as it is no primary any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Command, Ending, Hear, Script, reply_of
from partitioning.redis_connection import connection_maker
from partitioning.redis_pipeline import RedisPipeline
from partitioning.redis_url import Address, ManyHosts, text_of

LOOK_EVERY_S = 1.0
SENTINEL_S = 1.0
AGREED_AFTER_S = 10.0
_NO_PRIMARY = (ReadOnlyError, MasterDownError, BusyLoadingError)


class Named(NamedTuple):
    """What one sentinel says: the later ``epoch`` is right when two differ."""

    epoch: int
    primary: Address
    replicas: int
    sentinels: int


class Sentinels:
    """Asks sentinels where the primary of a service is.

    A sentinel that was cut off names the old primary for ever, so the answer of more than half of those listed is
    waited for, as far as they answer within a second, and the latest election counts. Sentinels tell one another of it
    within seconds; so long, what was heard once is not taken back.
    """

    def __init__(self, url: ManyHosts) -> None:
        self._url = url
        self._latest: Named | None = None
        self._heard_at = 0.0

    async def primary(self) -> Address:
        """Return the primary's address. Raises redis's ConnectionError when no sentinel names one."""
        named = max(await self.asked(len(self._url.hosts) // 2 + 1))
        now = time.monotonic()
        if self._latest is None or named.epoch >= self._latest.epoch or now > self._heard_at + AGREED_AFTER_S:
            self._latest, self._heard_at = named, now
        return self._latest.primary

    async def asked(self, enough: int) -> list[Named]:
        """Return the first ``enough`` answers, or fewer. Raises redis's ConnectionError when there is none."""
        named: list[Named] = []
        faults: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(self._ask(sentinel)) for sentinel in self._url.hosts]
            for answered in asyncio.as_completed(asking):
                answer = await answered
                if isinstance(answer, Named):
                    named.append(answer)
                else:
                    faults.append(answer)
                if len(named) == enough:
                    break
            for task in asking:
                task.cancel()
        if not named:
            raise RedisConnectionError(f"no sentinel names the primary of {self._url.service}: {'; '.join(faults)}")
        return named

    async def _ask(self, sentinel: Address) -> Named | str:
        connection = connection_maker(self._url.sentinel(sentinel), SENTINEL_S)()
        try:
            async with asyncio.timeout(SENTINEL_S):
                await connection.connect()
                # During a fail-over MASTER has the new epoch with the old address; this first one has the new address.
                for subcommand in ("GET-MASTER-ADDR-BY-NAME", "MASTER"):
                    await connection.send_command("SENTINEL", subcommand, self._url.service, check_health=False)
                return _named(await connection.read_response(), await connection.read_response())
        except (RedisError, OSError) as error:
            return f"{text_of(sentinel)}: {error or 'time-out'}"
        finally:
            await asyncio.shield(connection.disconnect(nowait=True))


def _named(address: list[bytes] | None, state: list[bytes]) -> Named | str:
    said = dict(zip(state[::2], state[1::2], strict=True))
    if address is None:
        return "knows the service and no address"
    return Named(
        int(said[b"config-epoch"]),
        (address[0].decode(), int(address[1])),
        int(said[b"num-slaves"]),
        int(said[b"num-other-sentinels"]) + 1,
    )


class RedisSentinel:
    """Commands on the primary of a service. A call that meets a fail-over raises RedisUnavailable; repeat it.

    Every connection is opened to the primary of that moment and refuses a server that is none; once a second a call
    looks whether the primary has changed, and then all connections to the old one are closed, busy ones too.
    """

    def __init__(
        self, url: ManyHosts, scripts: Sequence[Script], *, connections: int = 4, timeout_s: float = 5.0
    ) -> None:
        self._sentinels = Sentinels(url)
        self._pipeline = RedisPipeline(
            url.server(("primary", 6379)), scripts, connections=connections, timeout_s=timeout_s, find=self._find
        )
        self._primary: Address | None = None
        self._look_at = 0.0

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """See Commands."""
        if not commands:
            return []
        if time.monotonic() >= self._look_at:
            await self._look()
        try:
            replies = await self._pipeline.run(commands)
        except RedisUnavailable:
            self._look_at = 0.0
            await self._pipeline.renew()
            raise
        for reply in replies:
            if isinstance(reply, _NO_PRIMARY):
                self._look_at = 0.0
                await self._pipeline.close()
                raise RedisUnavailable(f"the Redis server asked is not the primary now: {reply}") from reply
        return replies

    async def one(self, command: Command) -> Any:
        """See Commands."""
        return reply_of(command, (await self.run([command]))[0])

    def can_tell(self) -> bool:
        """See Commands."""
        return self._pipeline.can_tell()

    def tell(self, commands: Sequence[Command]) -> bool:
        """See Commands."""
        return self._pipeline.tell(commands)

    async def ready_to_tell(self) -> None:
        """See Commands."""
        await self._pipeline.ready_to_tell()

    def listening(
        self, channels: Sequence[str], hear: Hear, heard: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[Ending]:
        """See Commands."""
        return self._pipeline.listening(channels, hear, heard)

    async def close(self) -> None:
        """Close all connections."""
        await self._pipeline.close()

    async def _find(self) -> Address:
        primary = await self._sentinels.primary()
        if self._primary is None:
            self._primary = primary
        elif primary != self._primary:
            self._look_at = 0.0
        return primary

    async def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_EVERY_S
        try:
            primary = await self._sentinels.primary()
        except RedisError:
            return  # without sentinels nothing fails over: what we are connected to is as right as it was
        before, self._primary = self._primary, primary
        if before is not None and before != primary:
            await self._pipeline.close(but_to=primary)
