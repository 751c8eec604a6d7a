"""Replays on three nodes: to one subscription, by one node, to their end whoever goes; pausing holds on all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.cluster.site import client, get, nodes, shared_by
from tests.cluster.test_delivery import backlog, send
from tests.support.node_process import NodeProcess
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(120)

EVENTS = 1500
RATE = 600
REPEATED_AT_MOST = 500
"""A page, and what was under way to the consumer and not settled."""


@dataclass
class Site:
    """Three nodes with stored events and a replay of them to one of two subscriptions that is under way."""

    running: dict[str, NodeProcess]
    runner: str
    replay: str
    got: dict[str, list[int]] = field(default_factory=lambda: {"again": [], "other": []})

    @property
    def left(self) -> list[NodeProcess]:
        """The nodes that do not run the replay; consumers are connected to the first."""
        return [node for name, node in self.running.items() if name != self.runner]

    @property
    def repeated(self) -> int:
        return sum(Counter(self.got["again"]).values()) - len(set(self.got["again"]))

    async def ends(self) -> None:
        """Wait until the replay has ended and all of it came; nothing of it goes to the other subscription."""
        done: dict[str, Any] = {}

        async def ended() -> bool:
            done.update(await get(self.left[0], f"/v1/replays/{self.replay}"))
            return bool(done["state"] != "running")

        await wait_for(ended, 40, "the replay has ended")
        assert done["state"] == "done", done
        await wait_for(lambda: len(set(self.got["again"])) == EVENTS, 20, "nothing is missing")
        assert self.got["other"] == [], "it is nobody else's"


@asynccontextmanager
async def replaying(redis_url: str, database_url: str) -> AsyncIterator[Site]:
    async with nodes(redis_url, database_url, lease_ms=1000) as (one, two, three):
        for name in ("again", "other"):
            await send(one, "PUT", f"/v1/subscriptions/{name}", {"topics": ["a.>"]})
        async with client(one) as publisher:
            await publisher.publish_many(
                [{"type": "a.b", "correlation_id": f"k{n % 40}", "payload": {"n": n}} for n in range(EVENTS)]
            )
        replay = await send(two, "POST", "/v1/replays", {"subscription": "again", "type": "a.*", "rate": RATE})
        runner = (await get(one, "/v1/partitions/0"))["owner"]
        site = Site({"one": one, "two": two, "three": three}, runner, replay["id"])

        async def consume(name: str, ready: asyncio.Event) -> None:
            async with client(site.left[0]) as taker, taker.subscription(name).topics("a.>").open() as deliveries:
                ready.set()
                async for delivery in deliveries:
                    if delivery.event.metadata.get("replayed") == replay["id"]:
                        site.got[name].append(delivery.event.payload["n"])
                    await delivery.ack()

        async with asyncio.TaskGroup() as tasks:
            readies = {name: asyncio.Event() for name in site.got}
            consuming = [tasks.create_task(consume(name, ready)) for name, ready in readies.items()]
            for ready in readies.values():
                await ready.wait()
            await wait_for(lambda: len(site.got["again"]) > 300, 20, "the replay is under way")
            yield site
            for task in consuming:
                task.cancel()


async def test_a_replay_survives_the_node_that_runs_it(redis_url: str, database_url: str) -> None:
    async with replaying(redis_url, database_url) as site:
        site.running[site.runner].kill()
        await shared_by(site.left[0], set(site.running) - {site.runner}, 20)
        await site.ends()
        assert site.repeated < REPEATED_AT_MOST


async def test_a_replay_goes_on_when_an_owner_of_partitions_dies(redis_url: str, database_url: str) -> None:
    async with replaying(redis_url, database_url) as site:
        site.left[1].kill()
        await site.ends()
        assert site.repeated < REPEATED_AT_MOST
        assert (await get(site.running[site.runner], "/healthz"))["status"] == "alive"


async def test_a_replay_is_handed_to_the_next_node_with_its_place(redis_url: str, database_url: str) -> None:
    async with replaying(redis_url, database_url) as site:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{site.left[0].url}/v1/nodes/{site.runner}/drain") as response,
        ):
            assert response.status == 202
        await site.ends()
        assert site.repeated < REPEATED_AT_MOST


async def test_a_replay_outlives_a_redis_that_dies_and_comes_back(database_url: str) -> None:
    with RedisServer().start(appendonly=True) as redis:
        async with replaying(redis.url, database_url) as site:
            redis.kill()
            await wait_for(lambda: unready(site.left[0]), 20, "the nodes have noticed")
            redis.start()
            await site.ends()
            for name, node in site.running.items():
                assert (await get(node, "/healthz"))["status"] == "alive", name


async def unready(node: NodeProcess) -> bool:
    return bool((await get(node, "/readyz"))["status"] == "not ready")


async def test_a_node_that_does_not_tell_its_backlogs_is_a_reason_to_ask_again(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url, lease_ms=10_000) as (one, two, _):
        await send(one, "PUT", "/v1/subscriptions/some", {"topics": ["a.>"]})
        two.pause()
        async with aiohttp.ClientSession() as session, session.get(f"{one.url}/v1/subscriptions") as response:
            assert response.status == 503
            assert "two did not answer" in (await response.json())["detail"]
        two.resume()


async def test_a_pause_holds_on_every_node_when_it_is_answered(redis_url: str, database_url: str) -> None:
    got: list[int] = []
    async with nodes(redis_url, database_url) as (one, two, three):
        await send(one, "PUT", "/v1/subscriptions/held", {"topics": ["a.>"]})

        async def consume(ready: asyncio.Event) -> None:
            async with client(two) as taker, taker.subscription("held").topics("a.>").open() as deliveries:
                ready.set()
                async for delivery in deliveries:
                    got.append(delivery.event.payload["n"])
                    await delivery.ack()

        async with asyncio.TaskGroup() as tasks:
            ready = asyncio.Event()
            consuming = tasks.create_task(consume(ready))
            await ready.wait()
            paused = await send(three, "POST", "/v1/subscriptions/held/pause", {"reason": "why not"})
            assert paused["paused"] is True
            async with client(one) as publisher:
                await publisher.publish_many(
                    [{"type": "a.b", "correlation_id": f"k{n % 40}", "payload": {"n": n}} for n in range(300)]
                )

            async def all_wait() -> bool:
                return await backlog(one, "held") == 300

            await wait_for(all_wait, 10, "all wait, whoever owns them")
            assert got == []
            await send(one, "POST", "/v1/subscriptions/held/resume")
            await wait_for(lambda: len(set(got)) == 300, 20, "all are delivered")
            consuming.cancel()
    assert sorted(got) == list(range(300))
