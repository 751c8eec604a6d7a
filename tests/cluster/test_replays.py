"""A replay on three nodes: to one subscription, by one node, and on to its end when that node dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.cluster.site import client, get, nodes, shared_by
from tests.cluster.test_delivery import send
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)

EVENTS = 1500


async def test_a_replay_survives_the_node_that_runs_it(redis_url: str, database_url: str) -> None:
    got: dict[str, list[int]] = {"again": [], "other": []}
    async with nodes(redis_url, database_url, lease_ms=1000) as (one, two, three):
        for name in got:
            await send(one, "PUT", f"/v1/subscriptions/{name}", {"topics": ["a.>"]})
        async with client(one) as publisher:
            await publisher.publish_many(
                [{"type": "a.b", "correlation_id": f"k{n % 40}", "payload": {"n": n}} for n in range(EVENTS)]
            )

        async def all_stored() -> bool:
            found = await get(one, "/v1/events?limit=1000&order=asc")
            rest = await get(one, f"/v1/events?limit=1000&order=asc&cursor={found['next']}") if found["next"] else None
            return len(found["events"]) + (len(rest["events"]) if rest else 0) == EVENTS

        await wait_for(all_stored, 20, "all are stored")
        replay = await send(two, "POST", "/v1/replays", {"subscription": "again", "type": "a.*", "rate": 600})
        running = {"one": one, "two": two, "three": three}
        runner = (await get(one, "/v1/partitions/0"))["owner"]
        left = [node for name, node in running.items() if name != runner]

        async def consume(name: str, ready: asyncio.Event) -> None:
            async with client(left[0]) as site, site.subscription(name).topics("a.>").open() as deliveries:
                ready.set()
                async for delivery in deliveries:
                    if delivery.event.metadata.get("replayed") == replay["id"]:
                        got[name].append(delivery.event.payload["n"])
                    await delivery.ack()

        async with asyncio.TaskGroup() as tasks:
            readies = {name: asyncio.Event() for name in got}
            consuming = [tasks.create_task(consume(name, ready)) for name, ready in readies.items()]
            for ready in readies.values():
                await ready.wait()
            await wait_for(lambda: len(got["again"]) > 300, 20, "the replay is under way")
            running[runner].kill()
            await shared_by(left[0], set(running) - {runner}, 20)
            done: dict[str, Any] = {}

            async def ended() -> bool:
                done.update(await get(left[1], f"/v1/replays/{replay['id']}"))
                return bool(done["state"] != "running")

            await wait_for(ended, 40, "the replay has ended")
            await wait_for(lambda: len(set(got["again"])) == EVENTS, 20, "nothing is missing")
            for task in consuming:
                task.cancel()
    assert done["state"] == "done"
    assert got["other"] == [], "it is nobody else's"
    assert len(got["again"]) < EVENTS * 1.6, "a page and what was under way is repeated, no more"
