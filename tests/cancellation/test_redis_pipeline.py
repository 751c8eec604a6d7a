from __future__ import annotations

import asyncio
import random

import pytest

from partitioning.redis_connect import connect


@pytest.mark.parametrize("url", ["redis_url", "redis_cluster_url", "redis_sentinel_url"])
async def test_calls_cancelled_anywhere_stop_and_leave_no_stranger_s_answer(
    url: str, request: pytest.FixtureRequest
) -> None:
    """Thousands of calls, half of them cancelled at random points: each ends cancelled or with its own replies."""
    pipeline = connect(request.getfixturevalue(url), [], connections=4)
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    finished = cancelled = 0

    async def call(n: int) -> None:
        # Keys of several slots: of a Cluster, all nodes have a part in each call.
        commands = [("EVAL", "return ARGV[1]", 1, f"key {k}", f"{n}-{k}") for k in range(5)]
        assert await pipeline.run(commands) == [f"{n}-{k}".encode() for k in range(5)], f"seed {seed}"

    for n in range(2000):
        task = asyncio.create_task(call(n))
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.0005)
        interrupted = rng.random() < 0.7 and task.cancel()
        try:
            await task
            assert not interrupted, f"a cancellation was swallowed at call {n}, seed {seed}"
            finished += 1
        except asyncio.CancelledError:
            cancelled += 1
    await pipeline.close()

    assert finished > 200, f"seed {seed}"
    assert cancelled > 200, f"seed {seed}"
