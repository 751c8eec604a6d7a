"""The loop one would write by hand with redis-py and asyncpg: the practical ceiling of this design.

Pipelined XADD; XREADGROUP of 256, decode, COPY into PostgreSQL (only with ``--database``), one XACK. No retries, order,
priorities, filters, deduplication or fail-over.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import asyncpg
import orjson
from redis.asyncio import Redis

from benchmarks.flights import first_events
from benchmarks.role import say, told

STREAM, GROUP, READ, PIPELINE = "flights", "loop", 256, 100
TABLE = """CREATE TABLE loop_events (
    id text PRIMARY KEY, type text, correlation_id text, priority smallint, occurred_at timestamptz, body bytea)"""
COLUMNS = ("id", "type", "correlation_id", "priority", "occurred_at", "body")


async def produce(redis: Redis, count: int) -> None:
    """Append ``count`` events, a hundred a pipeline."""
    bodies = [event.encode() for event in first_events(count)]
    say(ready=True)
    await told()
    began = time.monotonic()
    for start in range(0, count, PIPELINE):
        pipeline = redis.pipeline(transaction=False)
        for body in bodies[start : start + PIPELINE]:
            pipeline.xadd(STREAM, {b"e": body})
        await pipeline.execute()
    say(began=began, ended=time.monotonic())
    await told()


async def consume(redis: Redis, store: Callable[[list[bytes]], Awaitable[None]], count: int) -> None:
    """Read, store and acknowledge ``count`` events."""
    await redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    say(ready=True)
    seen = 0
    while seen < count:
        found: Any = await redis.xreadgroup(GROUP, "one", {STREAM: ">"}, count=READ, block=1000)
        for _, entries in found:
            await store([fields[b"e"] for _, fields in entries])
            await redis.xack(STREAM, GROUP, *(entry_id for entry_id, _ in entries))
            seen += len(entries)
    say(ended=time.monotonic(), delivered=seen)
    await told()


async def consume_and_store(redis: Redis, url: str, count: int) -> None:
    """Consume with each read copied into PostgreSQL before it is acknowledged."""
    database = await asyncpg.connect(url, timeout=10)
    await database.execute(TABLE)

    async def store(bodies: list[bytes]) -> None:
        records = [_record(body) for body in bodies]
        await database.copy_records_to_table("loop_events", records=records, columns=COLUMNS)

    await consume(redis, store, count)
    await database.close(timeout=5)


async def decode_only(bodies: list[bytes]) -> None:
    """Read events as a handler would, and store none."""
    for body in bodies:
        _record(body)


def _record(body: bytes) -> tuple[Any, ...]:
    event = orjson.loads(body)
    when = datetime.fromisoformat(event["timestamp"])
    return event["id"], event["type"], event["correlation_id"], event["priority"], when, body


async def main() -> None:
    """Play one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("produce", "consume"))
    parser.add_argument("--redis", required=True)
    parser.add_argument("--database")
    parser.add_argument("--count", type=int, required=True)
    chosen = parser.parse_args()
    async with Redis.from_url(chosen.redis, socket_timeout=30) as redis:
        if chosen.part == "produce":
            await produce(redis, chosen.count)
        elif chosen.database:
            await consume_and_store(redis, chosen.database, chosen.count)
        else:
            await consume(redis, decode_only, chosen.count)


if __name__ == "__main__":
    asyncio.run(main())
