"""taskiq with taskiq-redis: a task for each event on its broker of Redis streams. It stores nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.flights import first_events
from benchmarks.role import play, say, told

STREAM, GROUP, TASK, AT_ONCE = "flights", "taskiq", "handle", 100


async def produce(url: str, count: int) -> None:
    """Send ``count`` tasks, a hundred at once: it has no pipelines."""
    objects = [event.to_object() for event in first_events(count)]
    broker = _broker(url)

    @broker.task(task_name=TASK)
    async def handle(event: dict[str, Any]) -> None:
        raise NotImplementedError

    await broker.startup()
    say(ready=True)
    await told()
    began = time.monotonic()
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(handle.kiq(event) for event in objects[start : start + AT_ONCE]))
    say(began=began, ended=time.monotonic())
    await told()
    await broker.shutdown()


async def consume(url: str, count: int) -> None:
    """Run ``count`` tasks, as many at once as its worker does by default."""
    broker = _broker(url)
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    seen: set[str] = set()

    @broker.task(task_name=TASK)
    async def handle(event: dict[str, Any]) -> None:
        seen.add(event["id"])
        if len(seen) == count:
            done.set_result(time.monotonic())

    broker.is_worker_process = True
    logging.getLogger("taskiq").setLevel(logging.ERROR)  # it warns that it was cancelled
    await broker.startup()
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(run_receiver_task(broker))
        say(ready=True)
        ended = await done
        say(ended=ended, delivered=len(seen))
        await told()
        receiving.cancel()
    await broker.shutdown()


def _broker(url: str) -> RedisStreamBroker:
    return RedisStreamBroker(url, queue_name=STREAM, consumer_group_name=GROUP, consumer_id="0")


if __name__ == "__main__":
    asyncio.run(play(produce, consume, "redis"))
