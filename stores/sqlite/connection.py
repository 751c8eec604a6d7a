"""One SQLite file: a connection that writes, and one that reads."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import orjson

from stores.containment import contains
from stores.errors import StoreUnavailable
from stores.sqlite.errors import DRIVER_ERRORS, store_error

READ_S = 5.0
WRITE_S = 10.0
MEMORY = ":memory:"

_PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON")

Work = tuple[str, Sequence[tuple[Any, ...]]]
T = TypeVar("T")


class SqliteConnection:
    """Reads and writes of one database file (or of ``:memory:``, which has one connection for both).

    Writes take turns and each is one transaction, committed or rolled back even when its caller is cancelled.
    WAL with synchronous=NORMAL: a killed process loses nothing that was committed, a power cut may lose the last.
    Statements may call REGEXP and payload_has(body, payload as JSON).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()
        # One connection for both shows a reader what is not committed yet, so they take turns on it.
        self._reading = self._writing if path == MEMORY else asyncio.Lock()

    async def open(self) -> None:
        """Open the file, made with its folder when there is none. Raises StoreUnavailable."""
        try:
            if self.path != MEMORY:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._writer = await self._connect()
            self._reader = self._writer if self.path == MEMORY else await self._connect()
        except DRIVER_ERRORS as error:
            await self.close()
            raise StoreUnavailable(f"SQLite cannot open {self.path}: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close when the writes under way are done; twice is allowed. Calls raise StoreUnavailable afterwards."""
        async with self._writing:
            writer, reader = self._writer, self._reader
            self._writer = self._reader = None
        for connection in {writer, reader}:
            if connection is not None:
                await connection.close()

    async def read(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises StoreRejected or StoreUnavailable."""
        async with _mapped(READ_S), self._reading:
            connection = self._open(self._reader)
            try:
                return [tuple(row) for row in await connection.execute_fetchall(sql, tuple(values))]
            except asyncio.CancelledError:
                await connection.interrupt()  # or the next reader would wait for rows that nobody wants
                raise

    async def write(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Run one statement as a transaction; returns the rows changed. Raises StoreRejected or StoreUnavailable."""
        return await self.transaction([(sql, [tuple(values)])])

    async def transaction(self, work: Sequence[Work]) -> int:
        """Run statements, each for each of its rows of values, as one transaction; returns the rows changed in all.

        Raises StoreRejected or StoreUnavailable.
        """
        return await _to_the_end(self._commit(work))

    async def decide(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        """Have ``work`` read and write in one transaction, which is rolled back when it raises; returns what it does.

        Raises StoreRejected or StoreUnavailable, and what ``work`` raises.
        """
        return await _to_the_end(self._decide(work))

    async def script(self, sql: str) -> None:
        """Run statements as one transaction. Raises StoreRejected or StoreUnavailable."""
        await _to_the_end(self._run_script(f"BEGIN IMMEDIATE;\n{sql}\n;COMMIT;"))

    async def _commit(self, work: Sequence[Work]) -> int:
        async with self._turn() as connection:
            before = connection.total_changes
            for sql, rows in work:
                await connection.executemany(sql, rows)
            await connection.commit()
            return connection.total_changes - before

    async def _decide(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        async with self._turn() as connection:
            await connection.execute("BEGIN IMMEDIATE")
            result = await work(connection)
            await connection.commit()
            return result

    async def _run_script(self, sql: str) -> None:
        async with self._turn() as connection:
            await connection.executescript(sql)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[aiosqlite.Connection]:
        async with _mapped(WRITE_S), self._writing:
            connection = self._open(self._writer)
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self.path, timeout=READ_S)
        try:
            await _switch_to_wal(connection)
            for pragma in _PRAGMAS:
                await connection.execute(f"PRAGMA {pragma}")
            await connection.create_function("regexp", 2, _regexp, deterministic=True)
            await connection.create_function("payload_has", 2, _payload_has, deterministic=True)
        except BaseException:
            await connection.close()  # its thread would keep the process from ending
            raise
        return connection

    def _open(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None:
            raise StoreUnavailable(f"the SQLite database {self.path} is closed")
        return connection


async def _switch_to_wal(connection: aiosqlite.Connection) -> None:
    """Set the file's mode; SQLite does not wait by itself while another process is setting it."""
    async with asyncio.timeout(READ_S):
        while True:
            try:
                await connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                await asyncio.sleep(0.01)
            else:
                return


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for a transaction that goes on when its caller is cancelled: left open it would hold up every writer."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


@asynccontextmanager
async def _mapped(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except DRIVER_ERRORS as error:
        raise store_error(error) from error


def _regexp(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def _payload_has(body: bytes, wanted: str) -> bool:
    return contains(orjson.loads(body).get("payload"), _wanted(wanted))


@lru_cache(maxsize=8)
def _wanted(payload: str) -> Any:
    return orjson.loads(payload)
