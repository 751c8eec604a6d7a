"""Bringing a PostgreSQL schema up to date, any number of nodes at a time."""

from __future__ import annotations

import structlog

from stores.migrations import migrations_of
from stores.postgres.connection import PostgresConnection

LOCK = 0x6572_6D69  # one number for all versions: "ermi"
MIGRATE_S = 300.0

log = structlog.get_logger(__name__)


async def migrate(connection: PostgresConnection) -> list[str]:
    """Apply what is missing, each migration in one transaction; returns the names applied now.

    An advisory lock lets one node at a time in; the others find the work done.
    """
    known = migrations_of("stores.postgres")
    applied = []
    async with connection.connected(MIGRATE_S) as session, session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await session.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        there = {row["name"] for row in await session.fetch("SELECT name FROM schema_migrations")}
        for migration in known:
            if migration.name not in there:
                async with session.transaction():
                    await session.execute(migration.sql)
                    await session.execute("INSERT INTO schema_migrations (name) VALUES ($1)", migration.name)
                applied.append(migration.name)
    newer = there - {migration.name for migration in known}
    if newer:
        log.warning("the database was migrated by a newer version", migrations=sorted(newer))
    return applied
