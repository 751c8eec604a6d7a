"""The delivery log of three nodes, with the database frozen, and with old attempts to remove."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from router_client import EventRouterClient
from stores.open import open_database
from stores.ports import Attempt, LoggedAttempt
from tests.cluster.site import client, get, metric, nodes
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)

EVENTS = 1500


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server to freeze."""
    with PostgresServer(durable=False) as server:
        yield server


async def all_logged(node: NodeProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await get(node, f"/v1/deliveries?limit=1000{cursor}")
        found += page["deliveries"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def deliver(publisher: EventRouterClient, consumer: EventRouterClient, count: int) -> float:
    """Publish events and ack each; returns how many seconds that took."""
    events = [{"type": "a.b", "correlation_id": f"k{n % 97}", "payload": {"n": n}} for n in range(count)]
    async with consumer.subscription("s").topics("a.*").open() as deliveries, asyncio.timeout(60):
        began = time.monotonic()
        await publisher.publish_many(events)
        for _ in range(count):
            await (await anext(deliveries)).ack()
        return time.monotonic() - began


async def test_every_attempt_is_logged_by_the_node_that_made_it(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, ER_DELIVERY_LOG="all") as (one, two, three):
        async with client(one) as publisher, client(two) as consumer:
            await deliver(publisher, consumer, EVENTS)

        async def there() -> bool:
            return len(await all_logged(three)) == EVENTS

        await wait_for(there, 10, f"{EVENTS} attempts are logged")
        found = await all_logged(three)
    assert len({each["event_id"] for each in found}) == EVENTS
    assert {each["node"] for each in found} == {"one", "two", "three"}
    assert {each["outcome"] for each in found} == {"acked"}


async def test_a_frozen_postgresql_delays_no_delivery_and_loses_no_attempt_that_there_is_room_for(
    redis_url: str, own_server: PostgresServer
) -> None:
    database_url = await own_server.create_database()
    async with nodes(redis_url, database_url, count=1, ER_DELIVERY_LOG="all") as (node,):
        async with client(node) as publisher, client(node) as consumer:
            await deliver(publisher, consumer, EVENTS)
            own_server.pause()
            try:
                took_s = await deliver(publisher, consumer, EVENTS)
                waiting = await metric(node, "er_attempts_waiting")
            finally:
                own_server.resume()

            async def there() -> bool:
                return await metric(node, "er_attempts_logged") >= 2 * EVENTS

            await wait_for(there, 40, "what waited is logged")
        assert len(await all_logged(node)) == 2 * EVENTS
        assert await metric(node, "er_attempts_unlogged") == 0
    assert waiting > 0
    assert took_s < 5


async def test_one_node_removes_what_is_old(redis_url: str, database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    async with nodes(redis_url, database_url, ER_DELIVERY_LOG_DAYS="0.0002") as running:
        old = int((time.time() - 3600) * 1e6)
        new = int((time.time() + 3600) * 1e6)
        for start in range(0, 5000, 1000):
            await database.delivery_log.save(
                [LoggedAttempt("x", Attempt(old + n, f"e{n}", "s", 3, 1, "failed")) for n in range(start, start + 1000)]
            )
        await database.delivery_log.save([LoggedAttempt("x", Attempt(new, "new", "s", 3, 1, "failed"))])

        async def gone() -> bool:
            return await database.delivery_log.count() == 1

        await wait_for(gone, 20, "the old attempts are removed")
        removed = await asyncio.gather(*(metric(node, "er_attempts_expired") for node in running))
    await database.close()
    assert sorted(removed) == [0, 0, 5000]
