"""Twenty thousand events from Kafka through the router and back to Kafka, while the broker is killed and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from tests.kafka.bridged import url_of
from tests.kafka.metrics import metrics
from tests.router_client.served_node import served
from tests.support.kafka_server import KafkaServer
from tests.support.kafka_topics import event, produce

pytestmark = pytest.mark.timeout(120)

EVENTS, KEYS, PARTITIONS = 20_000, 1_000, 4


async def test_none_of_20_000_events_is_lost_both_ways_while_the_broker_restarts(
    own_kafka_server: KafkaServer, redis_url: str, database_url: str
) -> None:
    server = own_kafka_server
    for topic in ("in", "out", "dead"):
        server.create_topic(topic, PARTITIONS)
    bridge = {"topics": ["in"], "group": "both-ways", "dead_letter_topic": "dead", "batch": 100}
    settings = {
        "redis_url": redis_url,
        "database_url": database_url,
        "kafka_url": url_of(server),
        "kafka_bridges": [bridge],
        "kafka_destinations": [f"{url_of(server)}&topics=out"],
    }
    body = {"topics": ["a.b"], "max_in_flight": 5_000, "destination": {"kind": "kafka", "topic": "out"}}
    records = [event(f"{n}", key=f"key-{n % KEYS}", payload={"n": n}) for n in range(EVENTS)]
    async with served(**settings) as address, aiohttp.ClientSession(f"http://{address}") as http:
        answer = await http.put("/v1/subscriptions/out", json=body)
        assert answer.status == 201, await answer.text()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(produce(server.bootstrap, "in", records))
            reading = tasks.create_task(_read(server, EVENTS, at=EVENTS // 5, then=lambda: _restart(server, http)))
        counted = await metrics(http)
    came, appended_at_kill = reading.result()
    assert appended_at_kill < EVENTS, "the bridge had read everything before the broker was killed"
    once = list(dict.fromkeys(came))
    print(f"{len(came)} records for {len(once)} events; of those read, {counted['er_kafka_duplicates']:g} were repeats")
    assert set(once) == set(range(EVENTS))
    assert counted["er_kafka_refused"] == counted["er_events_dead"] == 0
    by_key: dict[int, list[int]] = {}
    for n in once:
        by_key.setdefault(n % KEYS, []).append(n)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


async def _restart(server: KafkaServer, http: aiohttp.ClientSession) -> float:
    """Kill the broker, leave it away for a second, and start it; returns how much the bridge had appended."""
    await asyncio.to_thread(server.kill)
    appended = (await metrics(http))["er_kafka_appended"]
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start)
    return appended


async def _read(
    server: KafkaServer, count: int, *, at: int, then: Callable[[], Awaitable[float]]
) -> tuple[list[int], float]:
    """Read the topic that the router fills until it has so many different events; once it has ``at``, do ``then``."""
    came: list[int] = []
    different: set[int] = set()
    found: float | None = None
    consumer = AIOKafkaConsumer("out", bootstrap_servers=server.bootstrap, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(90):
        while len(different) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                numbers = [orjson.loads(record.value)["payload"]["n"] for record in records]
                came += numbers
                different.update(numbers)
            if len(came) >= at and found is None:
                found = await then()
    assert found is not None
    return came, found
