"""From storing to not storing: what was promised is kept, and nodes that disagree do not work side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from redis.asyncio import Redis

from router_client import EventRouterClient
from tests.cluster.site import client, get, metric, owners
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    with PostgresServer(durable=False) as server:
        yield server


@pytest.fixture
async def own_database(own_postgres: PostgresServer) -> AsyncIterator[str]:
    """A database on a server that the test may stop and freeze."""
    url = await own_postgres.create_database()
    yield url
    await own_postgres.drop_database(url)


def node(redis_url: str, database_url: str, persist: str, name: str = "one") -> NodeProcess:
    settings = {"ER_PERSIST": persist, "ER_PARTITIONS": "4", "ER_LEASE_MS": "1000"}
    return NodeProcess(redis_url=redis_url, database_url=database_url, node_id=name, **settings)


def batch(count: int, first: int = 0) -> list[dict[str, object]]:
    return [{"type": "a.b", "id": f"e{n}", "correlation_id": f"k{n}"} for n in range(first, first + count)]


async def subscribe(site: EventRouterClient) -> None:
    await (await site.subscription("late").topics("a.>").open().__aenter__()).close()  # made, and left


async def rows(database_url: str, table: str, count: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:

        async def there() -> bool:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}")) == count

        await wait_for(there, 20, f"{count} rows in {table}")
    finally:
        await connection.close()


async def test_while_postgresql_is_away_nothing_waits_for_it(
    redis_url: str, own_postgres: PostgresServer, own_database: str
) -> None:
    async with (
        node(redis_url, own_database, "none") as one,
        client(one) as site,
        site.subscription("late").topics("a.>").open() as deliveries,
        Redis.from_url(redis_url) as redis,
    ):
        await asyncio.to_thread(own_postgres.stop)
        try:
            await site.publish_many(batch(500))
            async with asyncio.timeout(20):
                for _ in range(500):
                    await (await anext(deliveries)).ack()

            async def settled() -> bool:
                return await metric(one, "er_unsettled_events") == 0

            await wait_for(settled, 10, "all is settled")
            ready = await get(one, "/readyz")
            spilled = [key async for key in redis.scan_iter("*:q:_store:*")]
        finally:
            await asyncio.to_thread(own_postgres.start)

    assert ready["status"] == "ready"
    assert spilled == []


async def test_what_was_spilled_for_the_store_is_written_after_the_change(
    redis_url: str, own_postgres: PostgresServer, own_database: str
) -> None:
    one = node(redis_url, own_database, "all")
    async with one:
        await asyncio.to_thread(own_postgres.stop)
        try:
            async with client(one) as site:
                await site.publish_many(batch(300))

            async def spilled() -> bool:
                return await metric(one, "er_store_behind") == 300

            await wait_for(spilled, 20, "all is spilled")
            await one.terminate()
        finally:
            await asyncio.to_thread(own_postgres.start)
    async with node(redis_url, own_database, "none"):
        await rows(own_database, "events", 300)
        async with Redis.from_url(redis_url) as redis:
            await wait_for(lambda: _no_key(redis, "*:q:_store:*"), 10, "no backlog is left")


async def _no_key(redis: Redis, pattern: str) -> bool:
    return [key async for key in redis.scan_iter(pattern)] == []


async def test_what_was_accepted_before_the_change_and_not_even_read_is_written_after_it(
    redis_url: str, own_postgres: PostgresServer, own_database: str
) -> None:
    async with node(redis_url, own_database, "all") as one:
        own_postgres.pause()
        try:
            async with client(one) as site:
                await site.publish_many(batch(50))
            one.kill()
        finally:
            own_postgres.resume()
    async with node(redis_url, own_database, "none", "two"):
        await rows(own_database, "events", 50)


async def test_what_was_answered_as_stored_is_fed_to_a_wiped_redis_and_leaves_the_outbox(
    redis_url: str, database_url: str
) -> None:
    one = node(redis_url, database_url, "all")
    async with one:
        async with client(one) as site:
            await subscribe(site)
            await site.publish_many(batch(40), ack="stored")
        await one.terminate()
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    async with (
        node(redis_url, database_url, "none", "two") as two,
        client(two) as site,
        site.subscription("late").topics("a.>").open() as deliveries,
    ):
        got: set[str] = set()
        async with asyncio.timeout(20):
            while len(got) < 40:
                delivery = await anext(deliveries)
                got.add(delivery.event.id)
                await delivery.ack()
        await rows(database_url, "outbox", 0)


async def test_a_node_that_is_set_otherwise_may_not_join_until_the_others_are_gone(
    redis_url: str, database_url: str
) -> None:
    one, other = node(redis_url, database_url, "all"), node(redis_url, database_url, "none", "two")
    async with one:
        other.spawn()
        await wait_for(lambda: other.process.exit_code is not None, 20, "the other node ends")
        assert other.process.exit_code == 1
        assert 'one with persist = "all"' in other.tail()
        assert "ER_PERSIST" in other.tail()
        assert (await get(one, "/readyz"))["status"] == "ready"
        await one.terminate()
    async with await other.start(), Redis.from_url(redis_url) as redis:
        assert (await redis.hget("er:default:meta", "persist")).startswith(b"none ")


async def test_a_node_that_sleeps_through_the_change_takes_no_partition_and_says_why(
    redis_url: str, database_url: str
) -> None:
    async with node(redis_url, database_url, "all") as one:
        one.pause()
        async with node(redis_url, database_url, "none", "two") as two:
            one.resume()

            async def odd() -> bool:
                return "restart this node" in (await get(one, "/readyz"))["checks"]["workers"]["detail"]

            await wait_for(odd, 10, "it knows that it is the odd one")
            await wait_for(lambda: _owned_by(two, "two"), 10, "the others own all")
            async with (
                client(one) as here,
                client(two) as there,
                there.subscription("late").topics("a.>").open() as deliveries,
            ):
                await here.publish("a.b", {}, id="waited for", ack="stored")
                async with asyncio.timeout(10):
                    delivery = await anext(deliveries)
                await delivery.ack()
            await rows(database_url, "events", 1)


async def _owned_by(at: NodeProcess, name: str) -> bool:
    return set(await owners(at)) == {name}
