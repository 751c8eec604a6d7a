"""Waiting for what a node needs when it starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from partitioning.errors import RedisUnavailable
from partitioning.growth import Growth, Plan
from stores.errors import StoreUnavailable

START_S = 60.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def agreed_plan(growth: Growth, wanted: int) -> Plan:
    """Return the cluster's number of partitions: set by its first start, kept in Redis, the same for every node."""
    await growth.propose(wanted)
    return await growth.plan() or Plan(wanted)


async def when_there(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Call until it works, for at most ``START_S``: what a node needs may be starting at the same time as the node."""
    give_up_at = time.monotonic() + START_S
    pause = 0.2
    while True:
        try:
            return await call()
        except (StoreUnavailable, RedisUnavailable, OSError) as error:
            if time.monotonic() + pause > give_up_at:
                raise
            log.warning("waiting for what the node needs", what=what, error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
