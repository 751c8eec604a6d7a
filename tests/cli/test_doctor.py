"""`doctor` against real servers: what is well, what is not, and what to do."""

from __future__ import annotations

from redis import Redis

from tests.cli.command_line import CommandLine, Result
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer


def states(result: Result) -> dict[str, str]:
    return {finding["check"]: finding["state"] for finding in result.documents}


def test_sound_servers(cli: CommandLine, redis_url: str, database_url: str) -> None:
    result = cli("doctor", "--json", ER_REDIS_URL=redis_url, ER_DATABASE_URL=database_url)
    found = states(result)
    assert found["redis"] == found["redis version"] == found["redis eviction"] == found["clock"] == "ok"
    assert found["postgresql"] == found["postgresql version"] == "ok"
    assert "fail" not in found.values()


def test_a_redis_that_would_lose_events(cli: CommandLine) -> None:
    with RedisServer() as server:
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory-policy", "allkeys-lru")
        result = cli("doctor", code=1, ER_REDIS_URL=server.url)
    assert "CONFIG SET maxmemory-policy noeviction" in result.out
    assert max(map(len, result.out.split("\n\n")[0].splitlines())) <= 80


def test_servers_that_are_away(cli: CommandLine) -> None:
    redis, database = (f"127.0.0.1:{free_port()}" for _ in range(2))
    urls = {"ER_REDIS_URL": f"redis://:s3cret@{redis}", "ER_DATABASE_URL": f"postgresql://er:s3cret@{database}/er"}
    result = cli("doctor", "--json", code=1, **urls)
    assert states(result) == {"redis": "fail", "postgresql": "fail"}
    assert "s3cret" not in result.out
    assert all(finding["todo"] for finding in result.documents)


def test_without_any_server(cli: CommandLine) -> None:
    assert states(cli("doctor", "--json")) == {"redis": "warn", "postgresql": "warn"}
