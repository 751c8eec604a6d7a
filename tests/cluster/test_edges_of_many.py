"""Streams, pulls and targets on three nodes: what comes in anywhere goes out anywhere, and nothing stays behind."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

from tests.cluster.site import client, get, metric, nodes
from tests.cluster.test_delivery import backlog, send
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(90)

KEYS = 40


def batch(count: int, **more: object) -> list[dict[str, object]]:
    return [{"type": "a.b", "correlation_id": f"k{n % KEYS}", "payload": {"n": n}, **more} for n in range(count)]


async def test_a_stream_shows_what_every_node_owns_and_leaves_nothing_behind(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url) as (one, two, three):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{one.url}/v1/stream", params={"topic": "a.>"}) as response,
            client(two) as publisher,
        ):
            assert (await response.content.readline()).startswith(b"retry:")
            await publisher.publish_many(batch(200))
            seen: list[int] = []
            async with asyncio.timeout(20):
                while len(seen) < 200:
                    line = await response.content.readline()
                    if line.startswith(b"data: "):
                        seen.append(orjson.loads(line[6:])["payload"]["n"])
        assert sorted(seen) == list(range(200))

        for node in (one, two, three):

            async def forgotten(node: NodeProcess = node) -> bool:
                return await metric(node, "er_subscriptions") == 0

            await wait_for(forgotten, 10, "no node knows the stream's subscription any more")


async def test_pulls_at_several_nodes_share_a_backlog_and_none_takes_an_event_twice(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url) as running:
        await send(running[0], "PUT", "/v1/subscriptions/work", {"topics": ["a.>"], "ordering": "none"})
        async with client(running[1]) as publisher:
            await publisher.publish_many(batch(300))
        taken: list[tuple[int, int]] = []

        async def work(node: NodeProcess) -> None:
            while len(taken) < 300:
                got = await send(node, "POST", "/v1/subscriptions/work/pull", {"max": 20, "wait_s": 0.5})
                taken.extend((each["event"]["payload"]["n"], each["attempt"]) for each in got["deliveries"])
                ids = [delivery["delivery_id"] for delivery in got["deliveries"]]
                if ids:
                    assert await send(node, "POST", "/v1/subscriptions/work/settle", {"ack": ids}) == {"unknown": []}

        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            for node in running:
                for _ in range(2):
                    tasks.create_task(work(node))
        assert sorted(taken) == [(n, 1) for n in range(300)], "a pull that had ended cost no delivery an attempt"
        assert await backlog(running[2], "work") == 0


async def test_who_leaves_while_pulling_takes_nothing_along(redis_url: str, database_url: str) -> None:
    spec = {"topics": ["a.>"], "ack_timeout_s": 600, "retry": {"max_attempts": 1}}
    async with nodes(redis_url, database_url) as (one, two, three):
        await send(one, "PUT", "/v1/subscriptions/late", spec)
        for _ in range(5):
            async with aiohttp.ClientSession() as session:
                url = f"{two.url}/v1/subscriptions/late/pull"
                waiting = asyncio.create_task(session.post(url, json={"wait_s": 30}).__aenter__())
                await attached(one, 1)
                waiting.cancel()
                await asyncio.wait([waiting])
            await attached(one, 0)
        async with client(three) as publisher:
            await publisher.publish_many(batch(KEYS))
        got: list[int] = []
        async with asyncio.timeout(20):
            while len(got) < KEYS:
                found = await send(one, "POST", "/v1/subscriptions/late/pull", {"wait_s": 5})
                got += [delivery["attempt"] for delivery in found["deliveries"]]
        assert got == [1] * KEYS


async def attached(node: NodeProcess, count: int) -> None:
    async def there() -> bool:
        return int((await get(node, "/v1/subscriptions/late"))["consumers"]) == count

    await wait_for(there, 10, f"{count} consumers")


async def test_a_target_is_kept_to_wherever_it_is_published_and_one_that_is_missed_can_be_seen(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url) as running:
        one, two, three = running
        for name, topics in {"wanted": "a.>", "other": "a.>", "elsewhere": "b.>"}.items():
            await send(one, "PUT", f"/v1/subscriptions/{name}", {"topics": [topics]})
        await send(two, "POST", "/v1/events", batch(KEYS, target="wanted"))
        await send(two, "POST", "/v1/events", batch(KEYS, target="nobody"))
        await send(three, "POST", "/v1/events", batch(KEYS, target="elsewhere"))

        async def routed() -> bool:
            return sum([await metric(node, "er_events_target_missed_total") for node in running]) == 2 * KEYS

        await wait_for(routed, 15, "those that nobody takes are counted")

        async def stored() -> bool:
            return len((await get(one, "/v1/events?limit=1000"))["events"]) == 3 * KEYS

        await wait_for(stored, 15, "all are stored")
        assert [await backlog(three, name) for name in ("wanted", "other", "elsewhere")] == [KEYS, 0, 0]
