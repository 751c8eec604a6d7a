"""RabbitMQ with aio-pika: a durable queue, persistent messages, confirmed publishes a hundred at once, each acked."""

from __future__ import annotations

import asyncio
import time

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.flights import first_events
from benchmarks.role import play, say, told

QUEUE, AT_ONCE, PREFETCH = "flights", 100, 1000


async def produce(url: str, count: int) -> None:
    """Publish ``count`` events and wait for every confirmation."""
    messages = [
        aio_pika.Message(event.encode(), message_id=event.id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        for event in first_events(count)
    ]
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        say(ready=True)
        await told()
        began = time.monotonic()
        for start in range(0, count, AT_ONCE):
            lot = messages[start : start + AT_ONCE]
            await asyncio.gather(*(channel.default_exchange.publish(message, QUEUE) for message in lot))
        say(began=began, ended=time.monotonic())
        await told()


async def consume(url: str, count: int) -> None:
    """Take, decode and acknowledge ``count`` events."""
    seen: set[str] = set()
    all_seen = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        seen.add(orjson.loads(message.body)["id"])
        await message.ack()
        if len(seen) == count:
            all_seen.set()

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.declare_queue(QUEUE, durable=True)
        await queue.consume(take)
        say(ready=True)
        await all_seen.wait()
        # Answered after the acknowledgements before it.
        await channel.declare_queue(QUEUE, passive=True)
        say(ended=time.monotonic(), delivered=len(seen))
        await told()


if __name__ == "__main__":
    asyncio.run(play(produce, consume))
