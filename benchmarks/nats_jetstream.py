"""NATS JetStream with nats-py: publishes that are confirmed, many under way, and a durable pull consumer.

The stream is in files. The consumer fetches batches, decodes each event and acknowledges each. How many publishes and
deliveries may be under way is left as it is by default: 4,000 and 1,000.
"""

from __future__ import annotations

import asyncio
import time

import nats
import orjson
from nats.js.api import StorageType, StreamConfig

from benchmarks.flights import first_events
from benchmarks.role import play, say, told

STREAM, DURABLE, FETCH = "flights", "bench", 256


async def produce(url: str, count: int) -> None:
    """Publish ``count`` events, each under its topic, and wait for every confirmation."""
    messages = [(event.type, event.encode()) for event in first_events(count)]
    async with await nats.connect(url) as client:
        stream = client.jetstream()
        say(ready=True)
        await told()
        began = time.monotonic()
        confirmed = [await stream.publish_async(topic, body) for topic, body in messages]
        await asyncio.gather(*confirmed)
        say(began=began, ended=time.monotonic())
        await told()


async def consume(url: str, count: int) -> None:
    """Fetch, decode and acknowledge ``count`` events."""
    async with await nats.connect(url) as client:
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name=STREAM, subjects=["flights.>"], storage=StorageType.FILE))
        flights = await stream.pull_subscribe("flights.>", durable=DURABLE)
        say(ready=True)
        seen: set[str] = set()
        while len(seen) < count:
            for message in await flights.fetch(FETCH, timeout=5):
                seen.add(orjson.loads(message.data)["id"])
                await message.ack()
        # The server reads acknowledgements beside its answers to questions.
        while (await flights.consumer_info()).num_ack_pending:
            pass
        say(ended=time.monotonic(), delivered=len(seen))
        await told()


if __name__ == "__main__":
    asyncio.run(play(produce, consume))
