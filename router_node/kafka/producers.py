"""The Kafka producers of a node: one for each cluster of brokers, shared by whatever sends there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from router_client.errors import ClosedError, TooLarge, Unavailable
from router_client.kafka.library import aiokafka, faults, new_producer, stop_producer
from router_client.kafka.records import Outgoing
from router_client.kafka.url import KafkaUrl

SENT_WITHIN_S = 30.0
CLOSED_WITHIN_S = 5.0


class Placed(NamedTuple):
    """Where a record is that the brokers have acknowledged."""

    topic: str
    partition: int
    offset: int


class KafkaProducers:
    """Sends records while :meth:`serving`. Producers are started when they are first used.

    What waits in one is bounded by aiokafka: a batch for each partition beside the one on its way.
    """

    def __init__(self) -> None:
        self._producers: dict[tuple[object, ...], Any] = {}
        self._starting = asyncio.Lock()
        self._serving = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Send while the block runs, and what is under way for ``CLOSED_WITHIN_S`` more."""
        self._serving = True
        try:
            yield
        finally:
            self._serving = False
            producers, self._producers = list(self._producers.values()), {}
            for producer in producers:
                await stop_producer(producer, CLOSED_WITHIN_S)

    async def send(self, url: KafkaUrl, topic: str, record: Outgoing, timeout_s: float) -> Placed:
        """Send a record and return once all replicas in sync have it.

        Raises TooLarge for a record that the brokers will never take, and Unavailable for what another attempt may
        mend: no connection, no such topic yet, no right to it, no acknowledgement within ``timeout_s``. The record may
        be in the topic all the same.
        """
        errors = aiokafka().errors
        try:
            async with asyncio.timeout(timeout_s):
                producer = await self._started(url)
                sent = await producer.send(topic, record.value, record.key, headers=record.headers)
                found = await sent
        except (errors.MessageSizeTooLargeError, errors.RecordTooLargeError) as error:
            raise TooLarge(f"Kafka takes no record of {len(record.value)} bytes in {topic}", field="event") from error
        except TimeoutError as error:
            raise Unavailable(f"{topic} was not acknowledged within {timeout_s:g} s") from error
        except faults() as error:
            raise Unavailable(f"{topic}: {type(error).__name__}: {error}"[:500]) from error
        return Placed(found.topic, found.partition, found.offset)

    async def _started(self, url: KafkaUrl) -> Any:
        key = (url.brokers, url.user)
        found = self._producers.get(key)
        if found is not None:
            return found
        async with self._starting:
            if not self._serving:
                raise ClosedError("the node is stopping")
            if key not in self._producers:
                producer = new_producer(url, timeout_s=SENT_WITHIN_S)
                try:
                    await producer.start()
                except BaseException:
                    await stop_producer(producer, 0)
                    raise
                self._producers[key] = producer
        return self._producers[key]
