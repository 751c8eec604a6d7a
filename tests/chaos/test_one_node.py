"""One real node on real Redis and PostgreSQL, and what must survive when one of the three goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from tests.chaos.load import Load, nothing_left, stored_ids
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

PARTITIONS = 16

pytestmark = pytest.mark.timeout(180)


@dataclass
class Site:
    """The servers of one test, and the node on them."""

    redis: RedisServer
    postgres: PostgresServer
    database_url: str
    node: NodeProcess


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    with RedisServer().start(appendonly=True) as redis, PostgresServer() as postgres:
        database_url = await postgres.create_database()
        async with NodeProcess(
            redis_url=redis.url,
            database_url=database_url,
            ER_PARTITIONS=str(PARTITIONS),
            ER_LEASE_MS="1000",
            ER_DEDUP_WINDOW_S="600",
        ) as node:
            yield Site(redis, postgres, database_url, node)


@asynccontextmanager
async def consuming(load: Load) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(load.consume())
        await load.ready.wait()
        try:
            yield
        finally:
            task.cancel()


async def test_a_node_killed_in_the_middle_of_50_000_events_loses_nothing() -> None:
    async with site() as at:
        load = Load(at.node.url)
        async with consuming(load), asyncio.TaskGroup() as tasks:
            tasks.create_task(load.publish(50_000))
            await wait_for(lambda: len(load.acknowledged) >= 20_000, 60, "20,000 events are accepted")
            at.node.kill()
            await at.node.start()
            await wait_for(lambda: len(load.acknowledged) == 50_000, 90, "50,000 events are accepted")
            await load.everything_delivered(60)
            await nothing_left(at.redis.url, PARTITIONS, 30)
        stored = await stored_ids(at.database_url)

    assert load.acknowledged - stored == set()
    assert len(stored) == 50_000
    assert load.violations == []
    assert load.repeats <= 25_000, "no more than was unsettled in memory comes twice"


async def test_postgresql_away_for_20_seconds_under_load_holds_nothing_up() -> None:
    async with site() as at:
        load = Load(at.node.url)
        async with consuming(load), asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(load.publish(20_000, batch=100, pause_s=0.12))
            await wait_for(lambda: len(load.delivered) >= 1_000, 30, "the load runs")
            at.postgres.stop()
            before = len(load.delivered)
            await asyncio.sleep(20)  # the outage itself: time must pass
            during = len(load.delivered) - before
            at.postgres.start()
            await publishing
            await load.everything_delivered(60)
            await nothing_left(at.redis.url, PARTITIONS, 60)
        stored = await stored_ids(at.database_url)

    assert during >= 5_000, "publishing and delivery went on while PostgreSQL was away"
    assert load.acknowledged - stored == set()
    assert load.violations == []


async def test_redis_restarted_with_its_append_only_file_loses_nothing() -> None:
    async with site() as at:
        load = Load(at.node.url)
        async with consuming(load), asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(load.publish(10_000, batch=200))
            await wait_for(lambda: len(load.acknowledged) >= 2_000, 30, "2,000 events are accepted")
            at.redis.restart()
            await publishing
            await load.everything_delivered(60)
            await nothing_left(at.redis.url, PARTITIONS, 60)
        stored = await stored_ids(at.database_url)

    assert load.acknowledged - stored == set()
    assert load.violations == []


async def test_a_full_redis_refuses_publishers_loses_nothing_and_recovers_by_itself() -> None:
    async with site() as at:
        load = Load(at.node.url)
        async with consuming(load), asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(load.publish(6_000, batch=200, pause_s=0.05, until_taken=True))
            await wait_for(lambda: len(load.delivered) >= 1_000, 30, "the load runs")
            redis = Redis.from_url(at.redis.url)
            await redis.config_set("maxmemory", "1mb")
            await wait_for(lambda: load.refused > 0, 30, "publishers are refused")
            await redis.config_set("maxmemory", "0")
            await redis.aclose()
            await publishing
            await load.everything_delivered(60)
            await nothing_left(at.redis.url, PARTITIONS, 60)
        stored = await stored_ids(at.database_url)

    assert len(load.acknowledged) == 6_000
    assert load.acknowledged - stored == set()
    assert load.violations == []
