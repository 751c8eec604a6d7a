"""A look at the servers a node needs."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from cli.findings import Finding, judge_clock, judge_cluster, judge_postgres, judge_redis, judge_schema
from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Commands
from partitioning.redis_connect import connect
from router_node.config import redact
from stores.migrations import migrations_of

LOOK_S = 5.0


async def look_at_redis(url: str) -> list[Finding]:
    """Look at the Redis of ``url``: one server, the primary that sentinels name, or one primary of a Cluster.

    When it cannot be reached, that is the only finding. Never raises.
    """
    try:
        redis = connect(url, [], connections=2, timeout_s=LOOK_S)
        try:
            info = _sections(await redis.one(("INFO",)))
            offset_s, within_s = await _clock_offset(redis)
            state = _sections(await redis.one(("CLUSTER", "INFO"))) if info.get("cluster_enabled") == "1" else None
        finally:
            await redis.close()
    except (RedisUnavailable, ValueError) as error:
        todo = "start Redis, or correct ER_REDIS_URL (host, port, password)"
        return [Finding("redis", "fail", f"{redact(url)}: {error}", todo)]
    findings = [
        Finding("redis", "ok", f"reached at {redact(url)}"),
        *judge_redis(info),
        judge_clock(offset_s, within_s),
    ]
    return [*findings, judge_cluster(state)] if state is not None else findings


def _sections(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


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


async def _clock_offset(redis: Commands) -> tuple[float, float]:
    """Return how far this machine's clock is ahead of that of Redis, and how exactly that is known, in seconds."""
    before = time.time()
    seconds, micros = map(int, await redis.one(("TIME",)))
    after = time.time()
    return (before + after) / 2 - (seconds + micros / 1e6), (after - before) / 2
