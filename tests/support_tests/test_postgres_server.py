"""The PostgreSQL server that tests harm: what it keeps, and what the suite relies on when it is gone or frozen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.child_process import ServerMissing
from tests.support.postgres_server import PostgresServer, postgres_bin


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(query, timeout=5)
    finally:
        await connection.close(timeout=5)


async def test_each_database_is_new(server: PostgresServer) -> None:
    first, second = await server.create_database(), await server.create_database()
    await value(first, "CREATE TABLE t (a int)")
    assert await value(second, "SELECT to_regclass('t')") is None


async def test_a_database_can_be_copied_from_another(server: PostgresServer) -> None:
    template = await server.create_database()
    await value(template, "CREATE TABLE t (a int)")
    copy = await server.create_database(template.rpartition("/")[2])
    assert await value(copy, "SELECT to_regclass('t')::text") == "t"


async def test_a_dropped_database_is_gone_even_while_in_use(server: PostgresServer) -> None:
    url = await server.create_database()
    connection = await asyncpg.connect(url)
    await server.drop_database(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await value(url, "SELECT 1")
    await connection.close(timeout=5)


async def test_a_killed_server_refuses_and_keeps_what_was_committed(server: PostgresServer) -> None:
    url = await server.create_database()
    await value(url, "CREATE TABLE t (a int)")
    server.kill()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await value(url, "SELECT 1")
    server.start()
    assert await value(url, "SELECT to_regclass('t')::text") == "t"


async def test_a_paused_server_does_not_answer_until_it_resumes(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.url)
    server.pause()
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.2)
    server.resume()
    connection.terminate()
    assert await value(server.url, "SELECT 2") == 2


async def test_stopping_cuts_connections_and_a_restart_serves_again(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.url)
    server.stop()
    server.stop()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    server.restart()
    assert await value(server.url, "SELECT 1") == 1


async def test_durability_is_as_asked(server: PostgresServer, postgres_server: PostgresServer) -> None:
    assert await value(server.url, "SHOW fsync") == "on"
    assert await value(postgres_server.url, "SHOW fsync") == "off"


def test_leaving_the_context_leaves_neither_process_nor_folder() -> None:
    with PostgresServer(durable=False) as server:
        tree = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]
    assert [process for process in tree if process.is_running()] == []
    assert not server.folder.exists()


def test_the_folder_of_the_binaries_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ER_TEST_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(ServerMissing, match="no initdb"):
        postgres_bin()
    (tmp_path / "initdb").touch()
    assert postgres_bin() == tmp_path


def test_the_binaries_found_are_there() -> None:
    assert all(os.access(postgres_bin() / name, os.X_OK) for name in ("initdb", "postgres"))
