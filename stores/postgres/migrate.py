"""Bringing a PostgreSQL schema up to date, any number of nodes at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from stores.migrations import Migration, migrations_of
from stores.postgres.connection import PostgresConnection

LOCK = 0x6572_6D69  # one number for all versions: "ermi"

log = structlog.get_logger(__name__)


async def migrate(connection: PostgresConnection) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own; returns the names applied now.

    An advisory lock lets one node at a time in; the others find the work done. It belongs to the transaction, so a
    node that dies leaves none behind.
    """
    known = migrations_of("stores.postgres")
    async with connection.connected(connection.bounds.migrate_s) as session:
        async with _turn(session):
            await session.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations"
                " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
        applied = [migration.name for migration in known if await _apply(session, migration)]
        there = {row["name"] for row in await session.fetch("SELECT name FROM schema_migrations")}
    newer = there - {migration.name for migration in known}
    if newer:
        log.warning("the database was migrated by a newer version", migrations=sorted(newer))
    return applied


async def _apply(session: Any, migration: Migration) -> bool:
    """Apply one migration; False when it was applied before."""
    async with _turn(session):
        if await session.fetchval("SELECT true FROM schema_migrations WHERE name = $1", migration.name):
            return False
        await session.execute(migration.sql)
        await session.execute("INSERT INTO schema_migrations (name) VALUES ($1)", migration.name)
        return True


@asynccontextmanager
async def _turn(session: Any) -> AsyncIterator[None]:
    transaction = session.transaction()
    await transaction.start()
    try:
        await session.execute("SET LOCAL statement_timeout = 0")
        await session.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        yield
    except Exception:  # and not a cancellation: that gives up the connection, which ends the transaction
        await transaction.rollback()
        raise
    await transaction.commit()
