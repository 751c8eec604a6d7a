"""Fixtures for the whole suite: real servers, started on first use, and two checks around every test.

The session's servers are shared: a test that kills, pauses or reconfigures a server starts one of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, settings
from pytest_asyncio import is_async_test
from redis import Redis

from tests.support.kafka_server import KafkaServer
from tests.support.keys import leaked_keys
from tests.support.postgres_server import PostgresServer
from tests.support.redis_cluster import RedisClusterServers
from tests.support.redis_sentinel import RedisSentinels
from tests.support.redis_server import RedisServer

# Machines differ in speed and correctness does not: no example is too slow.
settings.register_profile("machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("machines")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The session's Redis server; without a binary the tests that need it fail with ServerMissing."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisClusterServers]:
    """The session's Redis Cluster."""
    with RedisClusterServers() as servers:
        yield servers


@pytest.fixture
def own_redis_cluster() -> Iterator[RedisClusterServers]:
    """A Redis Cluster for one test, to kill and to reshard."""
    with RedisClusterServers() as servers:
        yield servers


@pytest.fixture(scope="session")
def redis_sentinel_url() -> Iterator[str]:
    """URL of a Redis behind sentinels that stays as it is."""
    with RedisSentinels() as servers:
        yield servers.url


@pytest.fixture
def own_redis_sentinels() -> Iterator[RedisSentinels]:
    """A Redis primary with replicas and sentinels for one test, to kill."""
    with RedisSentinels() as servers:
        yield servers


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's PostgreSQL server; without a binary the tests that need it fail with ServerMissing."""
    with PostgresServer(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """The session's Kafka broker; without a binary the tests that need it fail with ServerMissing."""
    with KafkaServer() as server:
        yield server


@pytest.fixture
def own_kafka_server() -> Iterator[KafkaServer]:
    """A Kafka broker for one test, to kill and to restart."""
    with KafkaServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """URL of an empty Redis without loaded scripts. Afterwards every key must be documented as permanent or expire."""
    with Redis.from_url(redis_server.url, socket_timeout=10) as redis:
        redis.flushall()
        redis.script_flush()
        yield redis_server.url
        leaked = leaked_keys(redis)
    _fail_on(leaked)


@pytest.fixture
def redis_cluster_url(redis_cluster: RedisClusterServers) -> Iterator[str]:
    """URL of an empty Redis Cluster without loaded scripts, with the same check afterwards."""
    redis_cluster.flush()
    yield redis_cluster.url
    leaked: list[str] = []
    for server in redis_cluster.primaries:
        with Redis.from_url(server.url, socket_timeout=10) as redis:
            leaked += leaked_keys(redis)
    _fail_on(leaked)


def _fail_on(leaked: list[str]) -> None:
    if leaked:
        pytest.fail("keys without a time to live that docs/redis-keys.md does not call permanent: " + ", ".join(leaked))


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a new, empty PostgreSQL database, dropped after the test."""
    with ThreadPoolExecutor(1) as thread:  # a loop of its own: an async fixture may ask for this one while it runs
        url = thread.submit(asyncio.run, postgres_server.create_database()).result()
        yield url
        thread.submit(asyncio.run, postgres_server.drop_database(url)).result()


# Autouse fixtures come first and so are undone last: what a test's own fixtures stop has stopped by then.
@pytest.fixture(autouse=True)
def _no_orphans(request: pytest.FixtureRequest) -> None:
    if is_async_test(request.node):
        request.getfixturevalue("no_orphan_tasks")


@pytest.fixture
async def no_orphan_tasks() -> AsyncIterator[None]:
    """Fail an async test that leaves tasks behind; they are cancelled so that they cannot disturb another test."""
    yield
    orphans = asyncio.all_tasks() - {asyncio.current_task()}
    if not orphans:
        return
    listed = "\n".join(sorted(map(repr, orphans)))
    for task in orphans:
        task.cancel()
    await asyncio.wait(orphans, timeout=5)
    pytest.fail(f"the test left {len(orphans)} asyncio tasks running:\n{listed}")
