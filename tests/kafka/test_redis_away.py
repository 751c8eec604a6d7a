"""Redis goes away under a bridge: consumption waits, offsets stay behind, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import orjson
import pytest

from tests.kafka.bridged import topic_of, url_of
from tests.kafka.metrics import metrics
from tests.router_client.served_node import served
from tests.support.kafka_server import KafkaServer
from tests.support.kafka_topics import committed, contents, event, produce
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(60)

EVENTS = 3_000


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start(appendonly=True)
    with server:
        yield server


async def test_a_redis_that_is_killed_and_comes_back_loses_no_record(
    kafka_server: KafkaServer, own_redis: RedisServer, database_url: str
) -> None:
    ingress, egress = topic_of(kafka_server, 2), topic_of(kafka_server, 2, what="out")
    settings = {
        "redis_url": own_redis.url,
        "database_url": database_url,
        "kafka_url": url_of(kafka_server),
        "kafka_bridges": [{"topics": [ingress], "group": f"of-{ingress}", "batch": 50}],
        "kafka_destinations": [url_of(kafka_server, topics=egress)],
    }
    body = {"topics": ["a.b"], "max_in_flight": 1_000, "destination": {"kind": "kafka", "topic": egress}}
    async with served(**settings) as address, aiohttp.ClientSession(f"http://{address}") as http:
        await http.put("/v1/subscriptions/out", json=body)
        await produce(kafka_server.bootstrap, ingress, [event(f"{n}", key=f"k{n % 97}") for n in range(EVENTS)])

        async def counted(name: str, least: float) -> bool:
            return (await metrics(http))[name] >= least

        await wait_for(lambda: counted("er_kafka_appended", 1), 20, "the first events")
        await asyncio.to_thread(own_redis.kill)
        await wait_for(lambda: counted("er_kafka_held_back", 1), 20, "the bridge waits")
        while_away = await metrics(http)
        offsets = await committed(kafka_server.bootstrap, f"of-{ingress}", ingress, 2)
        assert sum(offsets) <= while_away["er_kafka_appended"] + while_away["er_kafka_duplicates"] < EVENTS
        await asyncio.to_thread(own_redis.restart)
        records = await contents(kafka_server.bootstrap, egress, EVENTS, within_s=40)
        seen = {orjson.loads(record.value)["id"] for record in records}
        while len(seen) < EVENTS:
            records = await contents(kafka_server.bootstrap, egress, len(records) + 1, within_s=40)
            seen = {orjson.loads(record.value)["id"] for record in records}
    assert seen == {f"{n}" for n in range(EVENTS)}
    by_key: dict[bytes, dict[int, None]] = {}
    for record in records:
        by_key.setdefault(record.key, {})[int(orjson.loads(record.value)["id"])] = None
    assert all(list(numbers) == sorted(numbers) for numbers in by_key.values())
    assert sum(await committed(kafka_server.bootstrap, f"of-{ingress}", ingress, 2)) == EVENTS
