"""One SQLite file: a connection that writes, one that reads, and its errors in our words."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from stores.errors import StoreRejected, StoreUnavailable

READ_S = 5.0
WRITE_S = 10.0
MEMORY = ":memory:"


class SqliteConnection:
    """Reads and writes of one database file (or of ``:memory:``, which has one connection for both).

    Writes take turns and each is one transaction, committed or rolled back even when its caller is cancelled.
    WAL with synchronous=NORMAL: a killed process loses nothing that was committed, a power cut may lose the last.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, made with its folder when there is none. Raises StoreUnavailable."""
        try:
            if self.path != MEMORY:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._writer = await self._connect()
            self._reader = self._writer if self.path == MEMORY else await self._connect()
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise StoreUnavailable(f"SQLite cannot open {self.path}: {error}") from error

    async def close(self) -> None:
        """Close; twice is allowed."""
        for connection in {self._writer, self._reader} - {None}:
            if connection is not None:
                await connection.close()
        self._writer = self._reader = None

    async def read(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises StoreUnavailable."""
        async with self._mapped(READ_S):
            return [tuple(row) for row in await self._open(self._reader).execute_fetchall(sql, tuple(values))]

    async def write(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Run one statement as a transaction; returns the rows changed. Raises StoreRejected or StoreUnavailable."""
        return await self._transaction([(sql, [tuple(values)])])

    async def write_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Run one statement for many rows as one transaction; returns the rows changed."""
        return await self._transaction([(sql, list(rows))])

    async def script(self, sql: str) -> None:
        """Run a script that brings its own transaction."""
        async with self._turn, self._mapped(WRITE_S):
            try:
                await self._open(self._writer).executescript(sql)
            except BaseException:
                await asyncio.shield(self._open(self._writer).rollback())
                raise

    async def _transaction(self, work: list[tuple[str, list[tuple[Any, ...]]]]) -> int:
        # Shielded: a transaction left open by a cancelled caller would hold up every other writer.
        return await asyncio.shield(self._commit(work))

    async def _commit(self, work: list[tuple[str, list[tuple[Any, ...]]]]) -> int:
        async with self._turn, self._mapped(WRITE_S):
            connection = self._open(self._writer)
            before = connection.total_changes
            try:
                for sql, rows in work:
                    await connection.executemany(sql, rows)
                await connection.commit()
            except BaseException:
                await connection.rollback()
                raise
            return connection.total_changes - before

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self.path, timeout=READ_S)
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={int(READ_S * 1000)}",
        ):
            await connection.execute(f"PRAGMA {pragma}")
        return connection

    def _open(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None:
            raise StoreUnavailable(f"the SQLite database {self.path} is closed")
        return connection

    @asynccontextmanager
    async def _mapped(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except (
            sqlite3.IntegrityError,
            sqlite3.DataError,
            sqlite3.InterfaceError,
            OverflowError,
            UnicodeError,
        ) as error:
            raise StoreRejected(f"SQLite refuses the data: {error}") from error
        except (sqlite3.Error, TimeoutError, ValueError) as error:
            raise StoreUnavailable(f"SQLite cannot answer: {error or 'time-out'}") from error
