"""The Redis server that tests harm: what it keeps, and what the suite relies on when it is gone or frozen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import redis

from tests.support.child_process import ProcessFailed, ServerMissing
from tests.support.redis_server import RedisServer, redis_binary


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    no_retries = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with redis.Redis.from_url(server.url, socket_timeout=0.2, retry=no_retries) as client:
        yield client


def test_a_killed_server_refuses_and_comes_back_empty_on_its_port(server: RedisServer, client: redis.Redis) -> None:
    client.set("key", "value")
    port = server.port
    server.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    server.restart()
    assert server.port == port
    assert client.get("key") is None


def test_with_appendonly_a_killed_server_keeps_its_data_over_any_number_of_starts() -> None:
    with RedisServer().start(appendonly=True) as server, redis.Redis.from_url(server.url) as client:
        for value in (b"first", b"second"):
            client.set("key", value)
            server.kill()
            server.start()
            assert client.get("key") == value


def test_a_paused_server_does_not_answer_until_it_resumes(server: RedisServer, client: redis.Redis) -> None:
    client.ping()
    server.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    server.resume()
    assert client.ping()


def test_a_paused_server_can_be_stopped_and_started(server: RedisServer, client: redis.Redis) -> None:
    server.pause()
    server.stop()
    server.stop()
    server.start()
    assert client.ping()


def test_extra_options_reach_the_server_and_stay_over_a_restart() -> None:
    with RedisServer().start(extra=["--maxmemory", "50mb"]) as server, redis.Redis.from_url(server.url) as client:
        server.restart()
        assert client.config_get("maxmemory") == {"maxmemory": str(50 * 2**20)}


def test_a_server_that_cannot_start_shows_why() -> None:
    server = RedisServer()
    try:
        with pytest.raises(ProcessFailed, match=r"(?s)before it did this: answer PING.*no-such-option"):
            server.start(extra=["--no-such-option", "1"])
    finally:
        server.remove()


def test_leaving_the_context_leaves_neither_process_nor_folder() -> None:
    with RedisServer() as server:
        pid = server.process.pid
    assert not psutil.pid_exists(pid)
    assert not server.folder.exists()


def test_the_binary_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ER_TEST_REDIS_SERVER", sys.executable)
    assert redis_binary() == Path(sys.executable)
    monkeypatch.setenv("ER_TEST_REDIS_SERVER", "/nowhere/redis-server")
    with pytest.raises(ServerMissing, match="/nowhere/redis-server"):
        redis_binary()


def test_without_one_on_path_the_wheel_brings_the_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ER_TEST_REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", "")
    assert os.access(redis_binary(), os.X_OK)
