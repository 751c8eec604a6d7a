"""What the servers hold: events not settled in Redis, rows in PostgreSQL, and who owns which partition."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict

import asyncpg
from redis.asyncio import Redis, RedisCluster

from partitioning.keys import GROUP, Keys
from tests.support.signals import wait_for

_KEYS = Keys("default")
_LOOK_EVERY_S = 0.003

Connection = Redis | RedisCluster


async def stored(database_url: str) -> Counter[str]:
    """Return the id of every stored event of the load, with the number of its rows."""
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        return Counter(row["id"] for row in await connection.fetch("SELECT id FROM events WHERE type LIKE 'chaos.%'"))
    finally:
        await connection.close(timeout=10)


async def unsettled(redis: Connection, partitions: int) -> int:
    """Return how many events may be delivered once more by a new owner, to each subscription.

    Those are the events appended and not settled, and those in the queues of lanes: whatever was delivered and is
    settled for good has left both.
    """
    events = 0
    for partition in range(partitions):
        sequence, settled = await redis.hmget(_KEYS.position(partition), "seq", "settled")  # type: ignore[misc]
        events += int(sequence or 0) - int(settled or 0)
        for lane in await redis.smembers(_KEYS.lanes(partition)):  # type: ignore[misc]
            events += await redis.xlen(_KEYS.queue(partition, lane.decode()))
    return events


async def nothing_left(redis: Connection, partitions: int, timeout_s: float) -> None:
    """Wait until Redis holds nothing unsettled: no entry, pending or not, and nothing in a lane's queue."""
    left: dict[str, int] = {}

    async def empty() -> bool:
        nonlocal left
        left = await _left(redis, partitions)
        return not left

    try:
        await wait_for(empty, timeout_s, "nothing is left unsettled in Redis")
    except AssertionError as failure:
        raise AssertionError(f"{failure}: {left}") from None


async def _left(redis: Connection, partitions: int) -> dict[str, int]:
    left: dict[str, int] = defaultdict(int)
    for partition in range(partitions):
        for priority in range(10):
            stream = _KEYS.ingest(partition, priority)
            if await redis.exists(stream):
                left["entries"] += await redis.xlen(stream)
                left["pending"] += (await redis.xpending(stream, GROUP))["pending"]
        left["lanes"] += await redis.scard(_KEYS.lanes(partition))  # type: ignore[misc]
    return {what: count for what, count in left.items() if count}


async def tokens(redis: Connection, partitions: int) -> dict[int, str]:
    """Return by partition the fencing token in force, ``<node id> <epoch>``; partitions nobody owns are left out."""
    held = [await redis.get(_KEYS.lease(partition)) for partition in range(partitions)]
    return {partition: token.decode() for partition, token in enumerate(held) if token}


async def owned_by(redis: Connection, partitions: int, node_id: str) -> dict[int, str]:
    """Return the partitions of one node with their tokens."""
    held = await tokens(redis, partitions)
    return {partition: token for partition, token in held.items() if token.startswith(f"{node_id} ")}


async def taken_over(redis: Redis, old: dict[int, str], timeout_s: float) -> dict[int, float]:
    """Watch the leases of ``old`` and return by partition when (time.monotonic) another token held it."""
    partitions, changed = list(old), dict[int, float]()
    async with asyncio.timeout(timeout_s):
        while len(changed) < len(old):
            held = await redis.mget([_KEYS.lease(partition) for partition in partitions])
            for partition, token in zip(partitions, held, strict=True):
                if token and token.decode() != old[partition]:
                    changed.setdefault(partition, time.monotonic())
            await asyncio.sleep(_LOOK_EVERY_S)
    return changed
