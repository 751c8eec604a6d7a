"""arq: a job for each event, which its worker marks done in Redis. It stores nothing.

Its worker's defaults are for few long jobs: ten at once, and half a second between looks at the queue. Here it runs a
hundred at once, looks again after ten milliseconds, and keeps no results.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from benchmarks.flights import first_events
from benchmarks.role import play, say, told

JOB, AT_ONCE, LOOK_S = "handle", 100, 0.01


async def produce(url: str, count: int) -> None:
    """Enqueue ``count`` jobs, a hundred at once: it has no pipelines."""
    events = [(event.id, event.to_object()) for event in first_events(count)]
    pool = await create_pool(RedisSettings.from_dsn(url))
    say(ready=True)
    await told()
    began = time.monotonic()
    for start in range(0, count, AT_ONCE):
        lot = events[start : start + AT_ONCE]
        await asyncio.gather(*(pool.enqueue_job(JOB, event, _job_id=event_id) for event_id, event in lot))
    say(began=began, ended=time.monotonic())
    await told()
    await pool.aclose()


async def consume(url: str, count: int) -> None:
    """Run ``count`` jobs."""
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    seen: set[str] = set()
    finished = 0

    async def handle(ctx: dict[str, Any], *arguments: Any, **_: Any) -> None:
        (event,) = arguments
        seen.add(event["id"])

    async def started(ctx: dict[str, Any]) -> None:
        say(ready=True)

    async def ended(ctx: dict[str, Any]) -> None:
        nonlocal finished
        finished += 1
        if finished == count:
            done.set_result(time.monotonic())

    worker = Worker(
        functions=[func(handle, name=JOB)],
        redis_settings=RedisSettings.from_dsn(url),
        on_startup=started,
        after_job_end=ended,
        handle_signals=False,
        max_jobs=AT_ONCE,
        keep_result=0,
        poll_delay=LOOK_S,
        log_results=False,
    )
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(worker.async_run())
        say(ended=await done, delivered=len(seen))
        await told()
        working.cancel()
    await worker.close()


if __name__ == "__main__":
    asyncio.run(play(produce, consume, "redis"))
