"""Three nodes behave as one router: whatever comes in anywhere goes out anywhere."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from router_client import EventRouterClient
from tests.cluster.site import client, get, nodes, shared_by

pytestmark = pytest.mark.timeout(90)


def batch(count: int, *, keys: int = 40) -> list[dict[str, object]]:
    return [{"type": "a.b", "correlation_id": f"key-{n % keys}", "payload": {"n": n}} for n in range(count)]


async def take(deliveries: object, count: int) -> list[dict[str, object]]:
    taken = []
    async with asyncio.timeout(20):
        while len(taken) < count:
            delivery = await anext(deliveries)  # type: ignore[call-overload]
            taken.append(delivery.event.payload)
            await delivery.ack()
    return taken


async def test_partitions_are_shared_and_events_go_from_any_node_to_a_consumer_on_any_other(
    redis_url: str, database_url: str
) -> None:
    async with (
        nodes(redis_url, database_url) as (one, two, three),
        client(two) as there,
        there.subscription("late").topics("a.>").open() as deliveries,
    ):
        async with client(one) as here, client(three) as further:
            await here.publish_many(batch(200))
            await further.publish_many(batch(200))
        taken = await take(deliveries, 400)

    assert sorted(each["n"] for each in taken) == sorted([*range(200), *range(200)])  # type: ignore[type-var]


async def test_consumers_on_three_nodes_share_the_work_of_one_subscription_in_order_per_key(
    redis_url: str, database_url: str
) -> None:
    got: list[list[tuple[str, int]]] = [[], [], []]

    async def consume(at: int, site: EventRouterClient, ready: asyncio.Event) -> None:
        async with site, site.subscription("work").topics("a.>").credit(10).open() as deliveries:
            ready.set()
            async for delivery in deliveries:
                got[at].append((delivery.event.correlation_id, delivery.event.payload["n"]))
                await delivery.ack()

    async with nodes(redis_url, database_url) as running, asyncio.TaskGroup() as tasks:
        readies = [asyncio.Event() for _ in running]
        consuming = [tasks.create_task(consume(at, client(node), readies[at])) for at, node in enumerate(running)]
        for ready in readies:
            await ready.wait()
        async with client(running[0]) as publisher:
            for start in range(0, 3000, 500):
                await publisher.publish_many(
                    [
                        {"type": "a.b", "correlation_id": f"k{n % 30}", "payload": {"n": n}}
                        for n in range(start, start + 500)
                    ]
                )
        async with asyncio.timeout(30):
            while sum(map(len, got)) < 3000:
                await asyncio.sleep(0.02)
        for task in consuming:
            task.cancel()

    assert sorted(n for part in got for _, n in part) == list(range(3000))
    assert all(len(part) > 100 for part in got), [len(part) for part in got]


async def test_a_live_tail_on_one_node_sees_what_is_published_on_the_others(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url) as (one, two, _):
        async with (
            client(one) as here,
            here.subscription("tail").topics("a.>").ephemeral().open() as first,
            client(two) as there,
            there.subscription("tail").topics("a.>").ephemeral().open() as second,
        ):
            await there.publish_many(batch(60))
            seen = await take(first, 60), await take(second, 60)
        names = [each["name"] for each in (await get(two, "/v1/subscriptions"))["subscriptions"]]

    assert [sorted(each["n"] for each in part) for part in seen] == [list(range(60))] * 2  # type: ignore[type-var]
    assert names == []


async def test_a_consumer_never_holds_more_than_its_credit_however_many_nodes_deliver(
    redis_url: str, database_url: str
) -> None:
    async with (
        nodes(redis_url, database_url) as (one, two, _),
        client(one) as here,
        client(two) as there,
        here.subscription("slow").topics("a.>").remember(0).credit(7).open() as deliveries,
    ):
        await there.publish_many(batch(300, keys=300))
        held, most, seen = [], 0, set()
        async with asyncio.timeout(30):
            while len(seen) < 300:
                held.append(await anext(deliveries))
                seen.add(held[-1].event.payload["n"])
                most = max(most, len(held))
                if len(held) == 7 or len(seen) == 300:
                    state = (await get(one, "/v1/subscriptions"))["subscriptions"][0]
                    assert state["in_flight"] <= 7
                    for delivery in held:
                        await delivery.ack()
                    held = []

    assert most == 7
    assert len(seen) == 300


async def test_what_one_node_pulled_another_settles(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url) as (one, two, three), aiohttp.ClientSession() as session:
        async with session.put(f"{one.url}/v1/subscriptions/pulled", json={"topics": ["a.>"]}) as response:
            assert response.status == 201
        async with client(three) as publisher:
            await publisher.publish_many(batch(50, keys=50))
        ids: list[str] = []
        async with asyncio.timeout(15):
            while len(ids) < 50:
                async with session.post(
                    f"{one.url}/v1/subscriptions/pulled/pull", json={"max": 50, "wait_s": 1}
                ) as response:
                    ids += [each["delivery_id"] for each in (await response.json())["deliveries"]]
        async with session.post(
            f"{two.url}/v1/subscriptions/pulled/settle", json={"ack": [*ids, "1.999.7", "x"]}
        ) as response:
            unknown = (await response.json())["unknown"]
        state = (await get(three, "/v1/subscriptions"))["subscriptions"][0]

    assert sorted(unknown) == ["1.999.7", "x"]
    assert (state["backlog"], state["in_flight"]) == (0, 0)


async def test_a_node_that_joins_takes_its_share_and_one_that_leaves_gives_it_back(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url, 2) as (one, two):
        await shared_by(one, {"one", "two"})
        assert await two.terminate() == 0
        await shared_by(one, {"one"}, 2.0)
