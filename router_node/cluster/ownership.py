"""Which partitions this node may change: leases taken, prolonged and given back in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
from redis.exceptions import RedisError

from partitioning.leases import Leases, epoch_of
from router_client.errors import Unavailable

log = structlog.get_logger(__name__)


class Ownership:
    """Holds the leases of every partition it can get.

    ``tokens`` (partition -> fencing token) is the one place where the log looks up what to fence with.
    """

    def __init__(
        self,
        leases: Leases,
        partitions: int,
        lease_ms: int,
        tokens: dict[int, str],
    ) -> None:
        self._leases = leases
        self._partitions = partitions
        self._lease_s = lease_ms / 1000
        self._renewed_at = time.monotonic()
        self.tokens = tokens
        self._to_load: set[int] = set()
        self.lost_leases = 0
        self.complete = asyncio.Event()

    def epoch(self, partition: int) -> int:
        """Return the epoch under which a partition is owned, 0 when it is not."""
        token = self.tokens.get(partition)
        return epoch_of(token) if token else 0

    def lost(self, partition: int) -> None:
        """A script found the lease gone; the next round takes it again if it is free."""
        if self.tokens.pop(partition, None) is not None:
            self.lost_leases += 1
            self.complete.clear()
            log.warning("lost the lease of a partition", partition=partition)

    @asynccontextmanager
    async def held(
        self, own: Callable[[Sequence[int]], Awaitable[None]], disown: Callable[[int], None]
    ) -> AsyncIterator[None]:
        """Hold what can be had while the block runs, then give it back.

        ``own`` is awaited with the partitions taken, and again when it failed; ``disown`` called with each lost.
        """
        async with asyncio.TaskGroup() as tasks:
            holding = tasks.create_task(self._hold(own, disown), name="ownership")
            try:
                yield
            finally:
                holding.cancel()
        await self._give_back()

    async def _hold(self, own: Callable[[Sequence[int]], Awaitable[None]], disown: Callable[[int], None]) -> None:
        while True:
            try:
                async with asyncio.timeout(self._lease_s):
                    await self._renew(disown)
                    await self._take()
                    await self._load(own)
            except (RedisError, Unavailable, OSError, TimeoutError) as error:
                self._without_redis(error, disown)
            await asyncio.sleep(self._lease_s / 3)

    async def _renew(self, disown: Callable[[int], None]) -> None:
        asked_at = time.monotonic()
        for partition in await self._leases.renew(dict(self.tokens)):
            disown(partition)
            self.lost(partition)
        self._renewed_at = asked_at

    async def _take(self) -> None:
        missing = [p for p in range(self._partitions) if p not in self.tokens]
        if not missing:
            return
        taken = await self._leases.acquire(missing)
        self.tokens.update(taken)
        self._to_load.update(taken)

    async def _load(self, own: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        taken = sorted(self._to_load & self.tokens.keys())
        if taken:
            await own(taken)
        self._to_load.clear()
        if len(self.tokens) == self._partitions and not self.complete.is_set():
            self.complete.set()
            log.info("owns every partition", partitions=self._partitions)

    def _without_redis(self, error: BaseException, disown: Callable[[int], None]) -> None:
        log.warning("partitions cannot be kept or taken up now; trying again", error=str(error) or "time-out")
        if time.monotonic() - self._renewed_at > self._lease_s:
            for partition in list(self.tokens):
                disown(partition)
                self.lost(partition)

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(1.0):
                await self._leases.release(self.tokens)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("leases could not be given back; they run out by themselves", error=str(error) or "time-out")
        self.tokens.clear()
