"""Partitions are added while events flow: nothing is lost, refused or out of order, whatever dies in the middle."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.chaos.load import SUBSCRIPTION, Load, nothing_left, stored_ids
from tests.cluster.site import client, get, nodes
from tests.support.node_process import NodeProcess
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
    async with nodes(redis_url, database_url, 2, partitions=BEFORE) as (one, two):
        load = Load(one.url)
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(load.consume())
            await load.ready.wait()
            publishing = tasks.create_task(load.publish(8_000, batch=100, pause_s=0.02))
            await wait_for(lambda: len(load.delivered) >= 1_000, 30, "the load runs")
            assert await grow(two, AFTER) == 202
            assert await grow(one, AFTER) == 202, "asking again attaches to the growth that is under way"
            await wait_for(lambda: grown(one), 20, "the growth ends")
            at_the_end = len(load.acknowledged)
            await publishing
            await load.everything_delivered(40)
            await nothing_left(redis_url, AFTER, 20)
            consuming.cancel()
        owners = [each["owner"] for each in (await get(one, "/v1/partitions"))["partitions"]]
    stored = await stored_ids(database_url)

    assert at_the_end < 8_000, "events were published during the growth and after it"
    assert load.violations == []
    assert load.acknowledged == stored
    assert len(stored) == 8_000
    assert owners.count("one") == owners.count("two") == AFTER // 2


async def test_a_backlog_from_before_the_growth_is_delivered_before_what_came_after_it(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url, 2, partitions=BEFORE) as (one, two):
        async with aiohttp.ClientSession() as session:
            body = {"topics": ["chaos.>"]}
            async with session.put(f"{one.url}/v1/subscriptions/{SUBSCRIPTION}", json=body) as response:
                assert response.status == 201
        load = Load(one.url, keys=60)
        await load.publish(600)
        assert await grow(one, AFTER) == 202
        await wait_for(lambda: grown(two), 20, "the growth ends although nobody consumes")
        await load.publish(600)
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(load.consume())
            await load.everything_delivered(30)
            consuming.cancel()
        await nothing_left(redis_url, AFTER, 20)

    assert len(load.acknowledged) == 1_200
    assert load.violations == []


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
