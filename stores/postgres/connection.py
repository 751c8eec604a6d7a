"""A pool of connections to PostgreSQL, made when it is first needed, and its errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from stores.errors import StoreRejected, StoreUnavailable

CONNECT_S = 5.0
READ_S = 5.0
WRITE_S = 10.0
POOL_SIZE = 8

_REJECTED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.UntranslatableCharacterError)
_ADVICE = {
    asyncpg.InvalidPasswordError: "check the user and password in ER_DATABASE_URL",
    asyncpg.InvalidAuthorizationSpecificationError: "check the user and password in ER_DATABASE_URL",
    asyncpg.InvalidCatalogNameError: "create the database named in ER_DATABASE_URL",
    asyncpg.ReadOnlySQLTransactionError: "connect to the primary, not to a replica",
    asyncpg.DiskFullError: "make room on its disk",
    asyncpg.TooManyConnectionsError: "raise max_connections or lower the number of nodes",
    asyncpg.UndefinedTableError: "run the migrations",
}


class PostgresConnection:
    """Calls to one database; each takes a connection from the pool and has a bound in time.

    An outage raises StoreUnavailable; the same object works again when the server is back.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._making = asyncio.Lock()

    async def close(self) -> None:
        """Close the pool; twice is allowed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Return all rows of a query. Raises StoreUnavailable."""
        async with self.connected(READ_S) as connection:
            return list(await connection.fetch(sql, *values))

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; returns the rows changed. Raises StoreRejected or StoreUnavailable."""
        async with self.connected(WRITE_S) as connection:
            status = str(await connection.execute(sql, *values))
        return int(count) if (count := status.rpartition(" ")[2]).isdecimal() else 0

    @asynccontextmanager
    async def connected(self, seconds: float) -> AsyncIterator[Any]:
        """Hold a connection for at most ``seconds`` after it was got."""
        try:
            async with asyncio.timeout(CONNECT_S + seconds):
                pool = await self._made()
                async with pool.acquire() as connection:
                    yield connection
        except _REJECTED as error:
            raise StoreRejected(f"PostgreSQL refuses the data: {error}") from error
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            TimeoutError,
        ) as error:
            advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
            what = str(error) or "no answer in time"
            raise StoreUnavailable(f"PostgreSQL cannot answer: {what}" + (f"; {advice}" if advice else "")) from error

    async def _made(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._making:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=POOL_SIZE,
                    timeout=CONNECT_S,
                    command_timeout=None,
                    server_settings={"application_name": "event-router", "jit": "off"},
                )
            return self._pool
