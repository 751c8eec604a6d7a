"""From a URL to a database: the only file that names them all."""

from __future__ import annotations

from urllib.parse import urlsplit

from router_client.errors import InvalidInput
from stores.postgres.database import PostgresDatabase
from stores.sqlite.connection import MEMORY
from stores.sqlite.database import SqliteDatabase


async def open_database(url: str) -> SqliteDatabase | PostgresDatabase:
    """Open ``sqlite:///relative``, ``sqlite:////absolute``, ``sqlite:///:memory:`` or ``postgresql://...``.

    Raises InvalidInput for any other URL and StoreUnavailable when a SQLite file cannot be opened. PostgreSQL is
    connected to by the first call.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite" and url.startswith("sqlite:///"):
        return await SqliteDatabase.open(url.removeprefix("sqlite:///") or MEMORY)
    if scheme in ("postgresql", "postgres"):
        return PostgresDatabase(url)
    raise InvalidInput("a database URL starts with postgresql:// or sqlite:///", field="database_url")
