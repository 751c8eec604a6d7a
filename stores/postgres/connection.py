"""A pool of connections to PostgreSQL, made when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from ssl import CertificateError
from typing import Any

import asyncpg

from stores.errors import StoreRejected, StoreUnavailable
from stores.postgres.errors import DRIVER_ERRORS, store_error

POOL_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long calls may take, in seconds: getting a connection, and then the call on it."""

    connect_s: float = 5.0
    read_s: float = 5.0
    write_s: float = 10.0
    migrate_s: float = 300.0


class _Stateless(asyncpg.Connection):
    """A connection that is given back without a round trip: nothing that is set on it here outlives a transaction."""

    def get_reset_query(self) -> str:
        return ""


class PostgresConnection:
    """Calls to one database; each takes a connection from the pool and has a bound in time.

    An outage raises StoreUnavailable; the same object works again when the server is back. A call that is cancelled
    or out of time gives up its connection at once, even when the server is frozen; what it sent may still take effect.
    """

    def __init__(self, url: str, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._url = url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._making = asyncio.Lock()
        self._closed = False

    async def close(self) -> None:
        """Close the pool; twice is allowed. Calls raise StoreUnavailable afterwards."""
        self._closed = True
        async with self._making:
            pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self.bounds.connect_s):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Return all rows of a query. Raises StoreRejected or StoreUnavailable."""
        async with self.connected(self.bounds.read_s) as connection:
            return list(await connection.fetch(sql, *values))

    async def fetch_marked(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a query that has ``?`` where its values go. Raises StoreRejected or StoreUnavailable."""
        numbers = count(1)
        numbered = "".join(f"${next(numbers)}" if char == "?" else char for char in sql)
        return [tuple(row) for row in await self.fetch(numbered, *values)]

    async def copy(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows to a table, all or none of them. Raises StoreRejected or StoreUnavailable."""
        async with self.connected(self.bounds.write_s) as connection:
            try:
                await connection.copy_records_to_table(table, columns=columns, records=rows)
            except (TypeError, ValueError, OverflowError) as error:
                # Elsewhere the driver has its own error for values that it cannot write in PostgreSQL's types.
                raise StoreRejected(f"PostgreSQL has no such value: {error}") from error

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; returns the rows changed. Raises StoreRejected or StoreUnavailable."""
        async with self.connected(self.bounds.write_s) as connection:
            status = str(await connection.execute(sql, *values))
        return int(rows) if (rows := status.rpartition(" ")[2]).isdecimal() else 0

    @asynccontextmanager
    async def connected(self, seconds: float) -> AsyncIterator[Any]:
        """Hold a connection for at most ``seconds`` after it was got; drivers' errors come out as StoreError."""
        try:
            pool, connection = await self._acquire()
            try:
                async with asyncio.timeout(seconds):
                    yield connection
            except (TimeoutError, asyncio.CancelledError):
                # The driver would wait for the server to confirm the cancellation, which a frozen one never does.
                connection.terminate()
                raise
            finally:
                await pool.release(connection)
        except DRIVER_ERRORS as error:
            raise store_error(error) from error

    async def _acquire(self) -> tuple[asyncpg.Pool[asyncpg.Record], Any]:
        try:
            async with asyncio.timeout(self.bounds.connect_s):
                pool = await self._made()
            return pool, await pool.acquire(timeout=self.bounds.connect_s)
        except CertificateError:
            raise  # a ValueError too, and for DRIVER_ERRORS below
        except ValueError:
            # Not chained: the driver's message may quote a piece of the password.
            raise StoreUnavailable(
                "ER_DATABASE_URL is not a PostgreSQL URL; percent-encode special characters in its user and password"
            ) from None

    async def _made(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._making:
            if self._closed:
                raise StoreUnavailable("the PostgreSQL database is closed")
            if self._pool is None:
                settings = {
                    "application_name": "event-router",
                    "jit": "off",
                    # Ends on the server what a caller gave up waiting for.
                    "statement_timeout": str(int(self.bounds.write_s * 1000)),
                }
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=POOL_SIZE,
                    timeout=self.bounds.connect_s,
                    server_settings=settings,
                    connection_class=_Stateless,
                )
            return self._pool
