"""SQLite in particular: killed processes, files that are none, locks and cancelled calls."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from router_client.errors import InvalidInput
from stores.attempt_search import search
from stores.cursor import write_cursor
from stores.errors import StoreRejected, StoreUnavailable
from stores.migrations import Migration, migrations_of
from stores.open import open_database
from stores.ports import AttemptQuery, StoredEvent
from stores.sqlite.connection import SqliteConnection
from stores.sqlite.delivery_log import EXPIRE
from stores.sqlite.errors import store_error
from stores.sqlite.migrate import migrate


async def test_processes_that_migrate_at_the_same_time_apply_each_migration_once(tmp_path: Path) -> None:
    databases = [await open_database(f"sqlite:///{tmp_path}/er.sqlite") for _ in range(4)]

    applied = await asyncio.gather(*(database.migrate() for database in databases))

    assert sorted(name for names in applied for name in names) == [
        migration.name for migration in migrations_of("stores.sqlite")
    ]
    for database in databases:
        await database.close()
        await database.close()


async def test_what_was_saved_survives_the_process_being_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    program = f"""
import asyncio, os, signal
from stores.open import open_database
from stores.ports import StoredEvent
async def main():
    database = await open_database({url!r})
    await database.migrate()
    await database.events.save([StoredEvent(n, f"e{{n}}", "a", "", "k", 5, b"{{}}") for n in range(1000)])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=subprocess.PIPE)
    await process.communicate()

    database = await open_database(url)
    assert await database.events.count() == 1000
    await database.close()


async def test_a_cancelled_save_leaves_no_transaction_open(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/er.sqlite")
    await database.migrate()
    events = [StoredEvent(n, f"e{n}", "a", "", "k", 5, b"{}") for n in range(5000)]
    for turns in range(20):
        task = asyncio.create_task(database.events.save(events))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await database.events.save([StoredEvent(9999, "last", "a", "", "k", 5, b"{}")]) == 1
    await database.close()


async def test_a_file_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StoreUnavailable, match="cannot open"):
        await open_database(f"sqlite:///{tmp_path}/file/er.sqlite")


async def test_a_file_that_is_no_database_is_unavailable_and_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "er.sqlite").write_text("certainly no database" * 100)
    before = set(threading.enumerate())

    with pytest.raises(StoreUnavailable, match="not a database"):
        await open_database(f"sqlite:///{tmp_path}/er.sqlite")

    for thread in set(threading.enumerate()) - before:
        thread.join(5)  # told to end, it may still be on its way out
        assert not thread.is_alive(), thread


async def test_a_file_locked_by_another_process_is_unavailable_and_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.sqlite.connection.READ_S", 0.05)
    database = await open_database(f"sqlite:///{tmp_path}/er.sqlite")
    await database.migrate()
    event = StoredEvent(1, "e", "a", "", "k", 5, b"{}")
    other = sqlite3.connect(tmp_path / "er.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        await database.events.save([event])
    assert await database.events.load("e") is None, "readers are not held up"

    other.execute("ROLLBACK")
    other.close()
    assert await database.events.save([event]) == 1
    await database.close()


def test_a_full_disk_is_unavailable_and_broken_data_refused() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a TEXT NOT NULL)")
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.Error) as full:
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    with pytest.raises(sqlite3.Error) as refused:
        connection.execute("INSERT INTO t VALUES (NULL)")
    connection.close()

    assert isinstance(store_error(full.value), StoreUnavailable)
    assert isinstance(store_error(refused.value), StoreRejected)


async def test_a_closed_database_is_unavailable_and_close_waits_for_the_write_under_way(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    database = await open_database(url)
    await database.migrate()
    writing = asyncio.create_task(
        database.events.save([StoredEvent(n, f"e{n}", "a", "", "k", 5, b"{}") for n in range(5000)])
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await database.close()

    assert await writing == 5000
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.events.ping()
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.events.save([StoredEvent(1, "e", "a", "", "k", 5, b"{}")])


async def test_a_cancelled_query_stops_running(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/er.sqlite")
    await database.migrate()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await database._connection.read(endless)  # type: ignore[union-attr]

    async with asyncio.timeout(1):
        await database.events.ping()
    await database.close()


async def test_a_database_migrated_by_a_newer_version_is_taken(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/er.sqlite")
    await database.migrate()
    with sqlite3.connect(tmp_path / "er.sqlite") as other:
        other.execute("INSERT INTO schema_migrations VALUES ('9999_from_the_future', '')")
    other.close()

    assert await database.migrate() == []
    await database.close()


async def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration("9998_broken", "CREATE TABLE half (a); SELECT no_such_function()")
    monkeypatch.setattr("stores.sqlite.migrate.migrations_of", lambda package: [*migrations_of(package), broken])
    database = await open_database(f"sqlite:///{tmp_path}/er.sqlite")

    with pytest.raises(StoreUnavailable, match="no_such_function"):
        await database.migrate()

    with sqlite3.connect(tmp_path / "er.sqlite") as other:
        tables = {name for (name,) in other.execute("SELECT name FROM sqlite_master")}
    other.close()
    assert "events" in tables
    assert "half" not in tables
    await database.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "", "sqlite:relative"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        await open_database(url)


async def test_attempts_are_found_and_expired_by_index() -> None:
    connection = SqliteConnection(":memory:")
    await connection.open()
    await migrate(connection)
    asked: list[tuple[str, Sequence[Any]]] = []

    async def note(sql: str, values: Sequence[Any]) -> list[Any]:
        asked.append((sql, values))
        return []

    for query, index in (
        (AttemptQuery(event_id="e77"), "attempts_by_event"),
        (AttemptQuery(event_id="e77", subscription="s7", outcome="failed"), "attempts_by_event"),
        (AttemptQuery(subscription="s7"), "attempts_by_subscription"),
        (AttemptQuery(subscription="s7", outcome="failed", descending=False), "attempts_by_subscription"),
        (AttemptQuery(subscription="s7", cursor=write_cursor(700, "node 1")), "attempts_by_subscription"),
        (AttemptQuery(cursor=write_cursor(700, "node 1")), "PRIMARY KEY"),
    ):
        asked.clear()
        await search(query, note)
        for sql, values in asked:
            plan = str(await connection.read(f"EXPLAIN QUERY PLAN {sql}", values))
            assert index in plan, f"{query}\n{plan}"
            assert "B-TREE" not in plan, f"{query} sorts\n{plan}"
    assert "SCAN" not in str(await connection.read(f"EXPLAIN QUERY PLAN {EXPIRE}", (1, 1)))
    await connection.close()
