"""aiokafka, imported when Kafka is used and not before: it comes with the extra ``kafka``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from router_client.errors import InvalidInput
from router_client.kafka.url import KafkaUrl

MISSING = "Kafka needs the package aiokafka, which is not installed: pip install event-router[kafka]"
MAX_REQUEST_BYTES = 1024 * 1024
BATCH_BYTES = 256 * 1024
STOPPED_WITHIN_S = 1.0
HELD_BACK_LONGEST_MS = 24 * 3600 * 1000
"""A consumer that is held back keeps its partitions: it is alive as long as it sends heartbeats."""


class Member(Protocol):
    """Whoever is told of the partitions that a consumer of a group gets and loses."""

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Learn which partitions go, before others get them: what is done of them can still be committed."""
        ...

    async def on_partitions_assigned(self, assigned: set[Any]) -> None:
        """Learn which partitions have come."""
        ...


def aiokafka(field: str = "url") -> ModuleType:
    """Return the package. Raises InvalidInput naming ``field``, and what to install, when it is not there."""
    try:
        return import_module("aiokafka")
    except ModuleNotFoundError as error:
        if error.name != "aiokafka":
            raise
        raise InvalidInput(MISSING, field=field) from error


def faults() -> tuple[type[Exception], ...]:
    """What aiokafka raises for brokers that are away, refuse or break off; KeyError for a login they do not explain."""
    return aiokafka().errors.KafkaError, OSError, KeyError


def new_producer(url: KafkaUrl, *, timeout_s: float) -> Any:
    """Make a producer, not started; what it sends is acknowledged by all replicas in sync, or fails by ``timeout_s``.

    One batch of a partition is on its way at a time, so that sending again keeps the order.
    """
    return aiokafka().AIOKafkaProducer(
        **url.connection,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=int(timeout_s * 1000),
    )


@asynccontextmanager
async def running_consumer(
    url: KafkaUrl, group: str, topics: tuple[str, ...], member: Member, *, start: str = "earliest"
) -> AsyncIterator[Any]:
    """Run a consumer of a group for the length of a block; ``member`` is told of partitions that come and go.

    Offsets are committed by the caller only. A group that has none yet begins at ``start`` (earliest or latest).
    Entering waits until the group has given it its part; raises KafkaError and OSError.
    """
    consumer = aiokafka().AIOKafkaConsumer(
        **url.connection,
        group_id=group,
        auto_offset_reset=start,
        enable_auto_commit=False,
        session_timeout_ms=int(url.session_timeout_s * 1000),
        heartbeat_interval_ms=int(url.session_timeout_s * 200),
        max_poll_interval_ms=HELD_BACK_LONGEST_MS,
        # A member that joins is answered when the others have come back too, which they have a session's time for.
        request_timeout_ms=int(url.session_timeout_s * 1500 + 1000),
    )
    consumer.subscribe(topics=list(topics), listener=_listener(member))
    try:
        await consumer.start()
        yield consumer
    finally:
        # Without connections there are no answers left to wait for.
        await _ended(consumer.stop(), STOPPED_WITHIN_S, consumer._client.close)


async def stop_producer(producer: Any, within_s: float) -> None:
    """Let a producer send what waits in it, for ``within_s`` at most, and end it; nothing of it runs afterwards."""

    async def give_up() -> None:
        producer._message_accumulator.fail_all(aiokafka().errors.ProducerClosed())
        await producer.client.close()

    await _ended(producer.stop(), within_s, give_up)


async def _ended(stop: Coroutine[Any, Any, None], within_s: float, give_up: Callable[[], Awaitable[None]]) -> None:
    """aiokafka waits for brokers when it stops, and leaves tasks behind when that is cancelled: neither is to be."""
    stopping = asyncio.create_task(stop)
    try:
        await asyncio.wait([stopping], timeout=within_s)
    finally:
        if not stopping.done():
            await give_up()
            await asyncio.wait([stopping], timeout=STOPPED_WITHIN_S)
            stopping.cancel()


def _listener(member: Member) -> Any:
    """aiokafka asks for a class of its own."""
    base = aiokafka().ConsumerRebalanceListener
    told = {name: staticmethod(getattr(member, name)) for name in ("on_partitions_revoked", "on_partitions_assigned")}
    return type("Listener", (base,), told)()
