"""Memory of a process and of Redis, in MiB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil  # type: ignore[import-untyped]
import redis

MIB = 1024 * 1024
SAMPLE_S = 0.2


def redis_mib(url: str) -> float:
    """Return the memory that Redis uses for all it holds."""
    with redis.Redis.from_url(url, socket_timeout=10) as connection:
        return float(connection.info("memory")["used_memory"]) / MIB


class Rss:
    """The resident memory of a process: as it was when this was made, and the highest seen since."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.peak = self.now()

    @property
    def growth(self) -> float:
        """What the peak is above ``before``."""
        return self.peak - self.before

    def now(self) -> float:
        """Return what it is now."""
        return float(self._process.memory_info().rss) / MIB

    async def follow(self) -> None:
        """Watch the peak until cancelled."""
        while True:
            self.peak = max(self.peak, self.now())
            await asyncio.sleep(SAMPLE_S)


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Rss]:
    """Watch the memory of a process for the length of an ``async with``."""
    rss = Rss(pid)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(rss.follow())
        yield rss
        following.cancel()
