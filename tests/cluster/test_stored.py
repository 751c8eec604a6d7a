"""The level ``stored``: the store has the event before its publisher is answered, and Redis may lose everything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from router_client.errors import EventRouterError, InvalidInput
from router_node.node import embedded
from tests.cluster.site import client, nodes
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(90)


async def count(database_url: str, table: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


def batch(start: int, many: int) -> list[dict[str, object]]:
    return [
        {"type": "a.b", "id": f"e{n}", "correlation_id": f"k{n % 20}", "payload": {"n": n}}
        for n in range(start, start + many)
    ]


async def test_events_are_in_the_store_before_the_answer_and_leave_the_outbox_when_settled(
    redis_url: str, database_url: str
) -> None:
    async with (
        nodes(redis_url, database_url, 2) as (one, two),
        client(two) as there,
        there.subscription("late").topics("a.>").open() as deliveries,
        client(one) as publisher,
    ):
        results = await publisher.publish_many(batch(0, 200), ack="stored")
        stored = await count(database_url, "events")
        for _ in range(200):
            await (await anext(deliveries)).ack()

        async def settled() -> bool:
            return await count(database_url, "outbox") == 0

        await wait_for(settled, 10, "the outbox is empty")

    assert not any(isinstance(result, EventRouterError) for result in results)
    assert stored == 200


async def test_a_wiped_redis_loses_nothing_that_was_stored_and_keeps_its_order(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url, 2, lease_ms=1000) as (one, two):
        async with client(two) as there:
            await (await there.subscription("late").topics("a.>").open().__aenter__()).close()  # made, and left
        async with client(one) as publisher:
            await publisher.publish_many(batch(0, 300), ack="stored")
            redis = Redis.from_url(redis_url)
            await redis.flushall()
            await redis.aclose()
            await publisher.publish_many(batch(300, 100), ack="stored")
        seen: list[tuple[str, int]] = []
        async with client(two) as there, there.subscription("late").topics("a.>").open() as deliveries:
            async with asyncio.timeout(30):
                while len({n for _, n in seen}) < 400:
                    delivery = await anext(deliveries)
                    seen.append((delivery.event.correlation_id, delivery.event.payload["n"]))
                    await delivery.ack()
        assert await count(database_url, "events") == 400

    firsts: dict[int, None] = dict.fromkeys(n for _, n in seen)
    for key in range(20):
        of_key = [n for n in firsts if n % 20 == key]
        assert of_key == sorted(of_key)


async def test_an_embedded_node_delivers_after_its_end_what_was_stored_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    async with embedded(url) as node:
        await node.management.put_subscription("late", {"topics": ["a.>"]})
        await node.publish(batch(0, 10), ack="stored")
        await node.publish(batch(10, 10), ack="accepted")

    async with embedded(url) as node:

        async def fed() -> bool:
            return bool((await node.management.subscriptions())[0]["backlog"] == 10)

        await wait_for(fed, 5, "what was stored is routed again")


async def test_an_unknown_level_is_refused_and_an_embedded_node_has_no_replicas() -> None:
    async with embedded() as node:
        for level in ("sure", "replicated"):
            with pytest.raises(InvalidInput) as refused:
                await node.publish(batch(0, 1), ack=level)
            assert refused.value.field == "ack"
