"""Partitions are added while events flow: nothing is lost, refused or out of order, whatever dies in the middle."""

from __future__ import annotations

import aiohttp
import pytest

from tests.chaos.aftermath import nothing_left, stored
from tests.chaos.cluster_site import looking_into
from tests.chaos.load import Level, Load, subscribe
from tests.cluster.site import client, get, nodes
from tests.support.node_process import NodeProcess
from tests.support.seed import SEED
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)

BEFORE, AFTER = 4, 12


async def grow(node: NodeProcess, to: int) -> int:
    url = f"{node.url}/v1/partitions/grow"
    async with aiohttp.ClientSession() as session, session.post(url, json={"to": to}) as response:
        return response.status


async def grown(node: NodeProcess) -> bool:
    state = await get(node, "/v1/partitions")
    return state["growth"] is None and len(state["partitions"]) == AFTER


async def test_growing_under_load_keeps_everything_and_its_order(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, 2, partitions=BEFORE) as (one, two), looking_into(redis_url) as redis:
        load = Load(one.url, [one.url], seed=SEED, partitions=BEFORE, level=Level(batch=50, pause_s=0.03))
        async with load.consuming():
            async with load.publishing():
                await load.flows(1_000)
                assert await grow(two, AFTER) == 202
                assert await grow(one, AFTER) == 202, "asking again attaches to the growth that is under way"
                await wait_for(lambda: grown(one), 20, "the growth ends")
                await load.flows(1_000)
            await load.all_delivered(40)
            await nothing_left(redis, AFTER, 20)
        owners = [each["owner"] for each in (await get(one, "/v1/partitions"))["partitions"]]
    rows = await stored(database_url)

    assert load.errors.total() == 0, f"publishing was refused: {load.errors}"
    assert load.checker.violations == []
    assert rows.keys() == load.checker.acknowledged
    assert rows.total() == len(rows)
    assert owners.count("one") == owners.count("two") == AFTER // 2


async def test_a_backlog_from_before_the_growth_is_delivered_before_what_came_after_it(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url, 2, partitions=BEFORE) as (one, two), looking_into(redis_url) as redis:
        load = Load(one.url, [one.url], seed=SEED, partitions=BEFORE, level=Level(keys=30))
        await subscribe(one)
        async with load.publishing():
            await load.acknowledges(600)
        assert await grow(one, AFTER) == 202
        await wait_for(lambda: grown(two), 20, "the growth ends although nobody consumes")
        async with load.publishing():
            await load.acknowledges(600)
        async with load.consuming():
            await load.all_delivered(30)
        await nothing_left(redis, AFTER, 20)

    assert load.checker.violations == []


async def test_what_was_published_before_is_known_as_a_duplicate_after(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, 1, partitions=BEFORE) as (one,):
        events = [{"type": "a.b", "id": f"e{n}", "correlation_id": f"k{n}"} for n in range(100)]
        async with client(one) as publisher:
            first = await publisher.publish_many(events)
            assert await grow(one, AFTER) == 202
            await wait_for(lambda: grown(one), 20, "the growth ends")
            again = await publisher.publish_many(events)

    assert [each.duplicate for each in first] == [False] * 100
    assert [each.duplicate for each in again] == [True] * 100
    assert max(each.partition for each in again) >= BEFORE


async def test_growing_is_refused_where_it_makes_no_sense(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, 1, partitions=BEFORE) as (one,):
        assert [await grow(one, to) for to in (BEFORE, 2, 1025, 0)] == [400, 400, 400, 400]
