"""FastStream on Redis streams: its consumer as the tutorial writes it, or with ``batch=True``. It stores nothing."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from faststream.redis import Pipeline, RedisBroker, StreamSub
from redis.asyncio import Redis

from benchmarks.flights import first_events
from benchmarks.role import say, told

STREAM, GROUP, PIPELINE = "flights", "faststream", 100


async def produce(url: str, count: int) -> None:
    """Publish ``count`` events, a hundred a pipeline, which FastStream offers since 0.6."""
    objects = [event.to_object() for event in first_events(count)]
    async with _broker(url) as broker, Redis.from_url(url, socket_timeout=30) as redis:
        say(ready=True)
        await told()
        began = time.monotonic()
        for start in range(0, count, PIPELINE):
            pipeline: Pipeline = redis.pipeline(transaction=False)
            for body in objects[start : start + PIPELINE]:
                await broker.publish(body, stream=STREAM, pipeline=pipeline)
            await pipeline.execute()
        say(began=began, ended=time.monotonic())
        await told()


async def consume(url: str, count: int, *, batch: bool) -> None:
    """Handle ``count`` events, one at a time or, with ``batch``, in lists of all that a read returned."""
    broker = _broker(url)
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    seen = 0

    def count_in(more: int) -> None:
        nonlocal seen
        seen += more
        if seen == count:
            done.set_result(time.monotonic())

    if batch:

        @broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer="one", batch=True))
        async def handle_list(events: list[dict[str, Any]]) -> None:
            count_in(len(events))
    else:

        @broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer="one"))
        async def handle(event: dict[str, Any]) -> None:
            count_in(1)

    async with broker:
        await broker.start()
        say(ready=True)
        ended = await done
        say(ended=ended, delivered=seen, stored=0)
        await told()


def _broker(url: str) -> RedisBroker:
    # Without its log lines, two for every message.
    return RedisBroker(url, logger=None)  # type: ignore[arg-type]


async def main() -> None:
    """Play one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("produce", "consume"))
    parser.add_argument("--redis", required=True)
    parser.add_argument("--database")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--batch", action="store_true")
    chosen = parser.parse_args()
    if chosen.part == "produce":
        await produce(chosen.redis, chosen.count)
    else:
        await consume(chosen.redis, chosen.count, batch=chosen.batch)


if __name__ == "__main__":
    asyncio.run(main())
