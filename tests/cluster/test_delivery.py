"""What delivery promises holds on three nodes as on one: order, affinity, halting, and all of it over a lost owner."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from router_client import EventRouterClient
from tests.cluster.site import client, get, nodes, shared_by
from tests.destinations.endpoint import SECRET, Got, endpoint
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)


async def send(node: NodeProcess, method: str, path: str, body: object = None) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{node.url}{path}", json=body) as response,
    ):
        answer = await response.json()
        assert response.status < 300, answer
        return answer


async def backlog(node: NodeProcess, name: str) -> int:
    return int((await get(node, f"/v1/subscriptions/{name}"))["backlog"])


async def test_strict_keeps_a_key_in_order_across_priorities(redis_url: str, database_url: str) -> None:
    events = [
        {"type": "a.b", "correlation_id": f"k{n % 25}", "priority": (7 * n) % 10, "payload": {"n": n}}
        for n in range(2000)
    ]
    got: dict[str, list[int]] = defaultdict(list)
    async with nodes(redis_url, database_url) as (one, two, three):
        await send(one, "PUT", "/v1/subscriptions/strict", {"topics": ["a.>"], "ordering": "strict"})
        async with client(two) as site, client(three) as publisher:
            for start in range(0, 1000, 100):
                await publisher.publish_many(events[start : start + 100])
            async with (
                site.subscription("strict").topics("a.>").ordering("strict").open() as deliveries,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(publish_by_and_by(publisher, events[1000:]))
                async with asyncio.timeout(60):
                    for _ in events:
                        delivery = await anext(deliveries)
                        got[delivery.event.correlation_id].append(delivery.event.payload["n"])
                        await delivery.ack()
    for key, numbers in got.items():
        assert numbers == sorted(numbers), key
    assert sum(map(len, got.values())) == len(events)


async def publish_by_and_by(publisher: EventRouterClient, events: list[dict[str, object]]) -> None:
    for start in range(0, len(events), 7):
        await publisher.publish_many(events[start : start + 7])


async def test_a_key_goes_to_one_consumer_wherever_that_is_connected(redis_url: str, database_url: str) -> None:
    seen: list[dict[str, int]] = [defaultdict(int) for _ in range(4)]

    async def consume(at: int, site: EventRouterClient, ready: asyncio.Event) -> None:
        async with site, site.subscription("work").topics("a.>").credit(5).open() as deliveries:
            ready.set()
            async for delivery in deliveries:
                seen[at][delivery.event.correlation_id] += 1
                await delivery.ack()

    async with nodes(redis_url, database_url) as (one, two, three), asyncio.TaskGroup() as tasks:
        # three consumers on one node and one on another: keys go to all four, from every owner
        places = [two, two, two, three]
        readies = [asyncio.Event() for _ in places]
        consuming = [tasks.create_task(consume(at, client(node), readies[at])) for at, node in enumerate(places)]
        for ready in readies:
            await ready.wait()

        async def met() -> bool:
            return int((await get(one, "/v1/subscriptions/work"))["consumers"]) == 4

        await wait_for(met, 10, "every node knows the four consumers")
        async with client(one) as publisher:
            await publisher.publish_many([{"type": "a.b", "correlation_id": f"k{n % 60}"} for n in range(1200)])

        async def done() -> bool:
            return sum(sum(each.values()) for each in seen) >= 1200

        await wait_for(done, 30, "all are delivered")
        for task in consuming:
            task.cancel()
    owners_of: dict[str, set[int]] = defaultdict(set)
    for at, keys in enumerate(seen):
        for key in keys:
            owners_of[key].add(at)
    assert len(owners_of) == 60
    assert {key: at for key, at in owners_of.items() if len(at) > 1} == {}
    assert all(len(keys) >= 3 for keys in seen), "each has its part of the keys"


async def test_a_halted_key_survives_its_owner_and_goes_on_when_replayed(redis_url: str, database_url: str) -> None:
    spec = {"topics": ["a.>"], "on_dead_letter": "halt"}
    async with nodes(redis_url, database_url, lease_ms=1000) as (one, two, three):
        await send(one, "PUT", "/v1/subscriptions/halting", spec)
        async with client(one) as publisher:
            found = await publisher.publish_many(
                [{"type": "a.b", "correlation_id": "bad", "payload": {"n": n}} for n in range(3)]
            )
        partition = found[0].partition
        first = (await send(one, "POST", "/v1/subscriptions/halting/pull", {"max": 10, "wait_s": 10}))["deliveries"]
        assert [each["event"]["payload"] for each in first] == [{"n": 0}]
        await send(one, "POST", "/v1/subscriptions/halting/settle", {"reject": [first[0]["delivery_id"]]})
        letters: list[dict[str, Any]] = []

        async def dead() -> bool:
            letters[:] = (await get(two, "/v1/dead-letters?subscription=halting"))["dead_letters"]
            return len(letters) == 1

        await wait_for(dead, 10, "the event is a dead letter")
        running = {"one": one, "two": two, "three": three}
        owner = (await get(one, f"/v1/partitions/{partition}"))["owner"]
        running.pop(owner).kill()
        left = list(running.values())
        await shared_by(left[0], set(running), 20)
        assert await backlog(left[0], "halting") == 3
        nothing = await send(left[0], "POST", "/v1/subscriptions/halting/pull", {"max": 10, "wait_s": 1})
        assert nothing["deliveries"] == [], "the new owner holds the key back too"

        assert (await send(left[1], "POST", "/v1/dead-letters/replay", {"ids": [letters[0]["id"]]}))["replayed"] == 1
        order = []
        for _ in range(3):
            (delivery,) = (await send(left[0], "POST", "/v1/subscriptions/halting/pull", {"max": 1, "wait_s": 10}))[
                "deliveries"
            ]
            order.append(delivery["event"]["payload"]["n"])
            await send(left[0], "POST", "/v1/subscriptions/halting/settle", {"ack": [delivery["delivery_id"]]})
        assert order == [0, 1, 2]
        assert (await get(left[0], "/v1/dead-letters?subscription=halting"))["dead_letters"] == []


async def test_scheduled_events_are_due_whoever_owns_their_partitions_then(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, lease_ms=1000) as (one, two, three):
        await send(one, "PUT", "/v1/subscriptions/later", {"topics": ["a.>"]})
        due = datetime.now(UTC) + timedelta(seconds=6)
        events = [
            {"type": "a.b", "correlation_id": f"k{n}", "payload": {"n": n}, "deliver_at": due.isoformat()}
            for n in range(120)
        ]
        async with client(two) as publisher:
            await publisher.publish_many(events)

            async def kept() -> bool:
                found = await get(one, "/v1/events?type=a.b&limit=1000")
                return len(found["events"]) == 120

            await wait_for(kept, 5, "they are stored before they are due")
            three.kill()
            got: list[int] = []
            async with client(one) as site, site.subscription("later").topics("a.>").open() as deliveries:
                async with asyncio.timeout(30):
                    while len(got) < 120:
                        delivery = await anext(deliveries)
                        assert datetime.now(UTC) >= due - timedelta(milliseconds=100)
                        got.append(delivery.event.payload["n"])
                        await delivery.ack()
        assert set(got) == set(range(120))


async def test_a_webhook_is_called_by_every_owner_once_for_each_event(redis_url: str, database_url: str) -> None:
    async with (
        endpoint() as hook,
        nodes(redis_url, database_url, ER_WEBHOOK_NETWORKS='["127.0.0.0/8"]') as (one, two, three),
    ):

        async def gone(got: Got) -> web.Response:
            return web.Response(status=410 if len(hook.got) == 300 else 204)

        hook.answer = gone
        destination = {"kind": "webhook", "url": hook.url, "secret": SECRET, "concurrency": 6}
        await send(one, "PUT", "/v1/subscriptions/hook", {"topics": ["a.>"], "destination": destination})
        async with client(two) as publisher:
            await publisher.publish_many([{"type": "a.b", "correlation_id": f"k{n}"} for n in range(299)])
            await hook.has(299, 30)
            assert hook.most_open <= 6
            ids = [orjson.loads(got.body)["id"] for got in hook.got]
            assert len(set(ids)) == len(ids) == 299

            async def logged_by() -> set[str]:
                found = await get(one, "/v1/deliveries?subscription=hook&limit=1000")
                return {each["node"] for each in found["deliveries"]}

            async def all_took_part() -> bool:
                return await logged_by() == {"one", "two", "three"}

            await wait_for(all_took_part, 10, "every node called for its partitions")

            await publisher.publish("a.b", {"last": True})
            await hook.has(300, 10)

            async def paused_everywhere() -> bool:
                found = [await get(node, "/v1/subscriptions/hook") for node in (one, two, three)]
                return all(each["paused"] and "410" in each["paused_reason"] for each in found)

            await wait_for(paused_everywhere, 10, "410 pauses it on every node")
            shown = await get(three, "/v1/subscriptions/hook")
            assert SECRET not in str(shown)
            assert shown["backlog"] == 1
