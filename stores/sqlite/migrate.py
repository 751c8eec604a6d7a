"""Bringing a SQLite file's schema up to date."""

from __future__ import annotations

import structlog

from stores.errors import StoreRejected
from stores.migrations import migrations_of
from stores.sqlite.connection import SqliteConnection

log = structlog.get_logger(__name__)


async def migrate(connection: SqliteConnection) -> list[str]:
    """Apply what is missing, each migration in one transaction; returns the names applied now.

    Several processes may call it at the same time: the one that finds a migration applied meanwhile goes on.
    """
    await connection.write(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)"
    )
    known = migrations_of("stores.sqlite")
    applied = []
    for migration in known:
        if migration.name in await _applied(connection):
            continue
        try:
            await connection.script(
                f"INSERT INTO schema_migrations VALUES ('{migration.name}', datetime('now'));\n{migration.sql}"
            )
            applied.append(migration.name)
        except StoreRejected:  # its name is there: another process was faster
            if migration.name not in await _applied(connection):
                raise
    newer = await _applied(connection) - {migration.name for migration in known}
    if newer:
        log.warning("the database was migrated by a newer version", migrations=sorted(newer))
    return applied


async def _applied(connection: SqliteConnection) -> set[str]:
    return {name for (name,) in await connection.read("SELECT name FROM schema_migrations")}
