"""A look at the servers a node needs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cli.findings import Finding, judge_clock, judge_postgres, judge_redis, judge_schema
from router_node.config import redact
from stores.migrations import migrations_of

LOOK_S = 5.0


async def look_at_redis(url: str) -> list[Finding]:
    """Look at the Redis server of ``url``; when it cannot be reached, that is the only finding. Never raises."""
    redis = Redis.from_url(url, socket_timeout=LOOK_S, socket_connect_timeout=LOOK_S, protocol=2)
    try:
        info: dict[str, Any] = await redis.info()
        offset_s, within_s = await _clock_offset(redis)
    except (RedisError, OSError) as error:
        todo = "start Redis, or correct ER_REDIS_URL (host, port, password)"
        return [Finding("redis", "fail", f"{redact(url)}: {error}", todo)]
    finally:
        await redis.aclose()
    return [Finding("redis", "ok", f"reached at {redact(url)}"), *judge_redis(info), judge_clock(offset_s, within_s)]


async def look_at_postgres(url: str) -> list[Finding]:
    """Look at the PostgreSQL database of ``url``; when it cannot be reached, that is the only finding. Never raises."""
    try:
        async with asyncio.timeout(LOOK_S):
            connection = await asyncpg.connect(url)
            version = connection.get_server_version()
            applied = await _applied(connection)
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        todo = "start PostgreSQL, or correct ER_DATABASE_URL (host, port, user, password, database)"
        return [Finding("postgresql", "fail", f"{redact(url)}: {error or 'no answer in time'}", todo)]
    known = {migration.name for migration in migrations_of("stores.postgres")}
    return [
        Finding("postgresql", "ok", f"reached at {redact(url)}"),
        judge_postgres(version.major, f"{version.major}.{version.minor}"),
        judge_schema(known, applied),
    ]


async def _applied(connection: asyncpg.Connection) -> set[str]:
    """Return the names of the migrations that the database has; none of a database no node has used."""
    try:
        return {str(row["name"]) for row in await connection.fetch("SELECT name FROM schema_migrations")}
    except asyncpg.UndefinedTableError:
        return set()


async def _clock_offset(redis: Redis) -> tuple[float, float]:
    """Return how far this machine's clock is ahead of that of Redis, and how exactly that is known, in seconds."""
    before = time.time()
    seconds, micros = await redis.time()
    after = time.time()
    return (before + after) / 2 - (seconds + micros / 1e6), (after - before) / 2
