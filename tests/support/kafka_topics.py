"""Topics of a broker, written and read as other programs would: with aiokafka itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition


class Sent(NamedTuple):
    """A record to be written."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


def event(event_id: str | None = None, key: str = "", **members: Any) -> Sent:
    """Return a record that holds an event object."""
    body = {"type": "a.b", **({"id": event_id} if event_id else {}), **members}
    return Sent(orjson.dumps(body), key.encode() or None)


async def produce(bootstrap: str, topic: str, records: Iterable[Sent]) -> None:
    """Write records in order, and return when all are acknowledged."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=512 * 1024) as producer:
        waiting = [
            await producer.send(topic, each.value, each.key, partition=each.partition, headers=list(each.headers))
            for each in records
        ]
        await asyncio.gather(*waiting)


async def contents(bootstrap: str, topic: str, count: int, within_s: float = 15.0) -> list[Any]:
    """Return the records of a topic from its beginning, at least ``count``. Raises TimeoutError."""
    found: list[Any] = []
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        partitions = consumer.partitions_for_topic(topic)
        while partitions is None:
            await consumer.topics()
            partitions = consumer.partitions_for_topic(topic)
        consumer.assign([TopicPartition(topic, number) for number in partitions])
        async with asyncio.timeout(within_s):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
    return found


async def committed(bootstrap: str, group: str, topic: str, partitions: int = 1) -> list[int]:
    """Return a group's offset in each partition, 0 where there is none yet."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False) as consumer:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        return [await consumer.committed(place) or 0 for place in places]
