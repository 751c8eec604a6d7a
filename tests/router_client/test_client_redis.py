"""What is special about a client that appends to Redis itself; what all have in common is the contract's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from partitioning.keys import Keys
from partitioning.limits import Limits
from router_client import (
    Backoff,
    ClientOptions,
    ConnectionLost,
    EventRouterClient,
    InvalidInput,
    NotFound,
    Overloaded,
    PublishResult,
    Unavailable,
)
from router_client.transports.by_url import transport_for
from router_node.flow.read import SWEEP_S
from tests.router_client.served_node import served
from tests.router_client.unread_cluster import P, cluster_at, in_streams
from tests.support.fault_proxy import FaultProxy
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.seed import SEED

pytestmark = pytest.mark.timeout(60)

OPTIONS = ClientOptions(backoff=Backoff(base_s=0.01, max_s=0.1), connect_timeout_s=2)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def calls_of(url: str, command: str) -> int:
    async with Redis.from_url(url) as redis:
        stats = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_a_redis_without_the_cluster_is_named(redis_url: str) -> None:
    with pytest.raises(NotFound, match="nowhere") as caught:
        await EventRouterClient(f"{redis_url}?cluster=nowhere").__aenter__()
    assert caught.value.field == "cluster"


async def test_a_redis_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(ConnectionLost, match="Redis cannot be reached"):
        await EventRouterClient(f"redis://127.0.0.1:{free_port()}/0", options=OPTIONS).__aenter__()


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost/0?cluster=",
        "redis://localhost/0?cluster=a&cluster=b",
        "redis://localhost/0?nonsense=1",
        "redis+sentinel://localhost?cluster=a",
        "redis+cluster://localhost/3",
    ],
)
async def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        transport_for(url, OPTIONS)
    assert caught.value.field == "url"


async def test_stored_is_refused_with_the_names_of_those_that_offer_it(redis_url: str) -> None:
    async with cluster_at(redis_url), EventRouterClient(redis_url, options=OPTIONS) as client:
        with pytest.raises(InvalidInput, match="ws:// or http://") as caught:
            await client.publish("a.b", ack="stored")
        assert caught.value.field == "ack"
        assert await in_streams(redis_url) == []


async def test_too_few_replicas_are_an_error_that_says_so(redis_url: str) -> None:
    async with cluster_at(redis_url), EventRouterClient(redis_url, options=OPTIONS) as client:
        with pytest.raises(Unavailable, match="0 of 1 replicas"):
            await client.publish("a.b", ack="replicated")


async def test_a_full_backlog_is_an_overload_by_the_limit_that_the_nodes_told(redis_url: str) -> None:
    async with (
        cluster_at(redis_url, Limits(backlog=3), partitions=1),
        EventRouterClient(redis_url, options=OPTIONS) as client,
    ):
        for _ in range(3):
            await client.publish("a.b")
        with pytest.raises(Overloaded, match="backlog") as caught:
            await client.publish("a.b")
        assert caught.value.retry_after_s > 0
        assert len(await in_streams(redis_url)) == 3


async def test_the_largest_event_is_the_one_the_nodes_told(redis_url: str) -> None:
    async with cluster_at(redis_url, Limits(event_bytes=2048)), EventRouterClient(redis_url) as client:
        outcomes = await client.publish_many([{"type": "a.b", "payload": {"x": "y" * size}} for size in (3000, 1000)])
        assert [getattr(outcome, "field", None) for outcome in outcomes] == ["event", None]


async def test_a_redis_out_of_memory_is_an_overload(own_redis: RedisServer) -> None:
    url = own_redis.url
    async with cluster_at(url), EventRouterClient(url, options=OPTIONS) as client, Redis.from_url(url) as redis:
        await client.publish("a.b")
        await redis.config_set("maxmemory", "1mb")
        with pytest.raises(Overloaded, match="memory") as caught:
            await client.publish("a.b")
        assert caught.value.retry_after_s == 2
        await redis.config_set("maxmemory", "0")
        assert not (await client.publish("a.b")).duplicate


async def test_a_redis_that_has_forgotten_the_script_is_given_it_again(redis_url: str) -> None:
    async with cluster_at(redis_url), EventRouterClient(redis_url, options=OPTIONS) as client:
        await client.publish("a.b", id="1")
        async with Redis.from_url(redis_url) as redis:
            await redis.script_flush()
        await client.publish("a.b", id="2")
        assert sorted(await in_streams(redis_url)) == ["1", "2"]


async def test_what_is_published_at_one_time_is_few_writes(redis_url: str) -> None:
    async with cluster_at(redis_url), EventRouterClient(redis_url, options=OPTIONS) as client:
        await client.publish("a.b")
        before = await calls_of(redis_url, "evalsha")
        await asyncio.gather(*(client.publish("a.b", correlation_id="key") for _ in range(200)))
        # The first goes alone; what comes while it is under way is the next group, of two calls of the script.
        assert await calls_of(redis_url, "evalsha") - before <= 4


BAD: list[Any] = [
    {"id": "1"},
    {"id": "2", "type": "a..b"},
    {"id": "3", "type": "a.b", "priority": 10},
    {"id": "4", "type": "a.b", "payload": []},
    {"id": "", "type": "a.b"},
    {"id": "6", "type": "a.b", "other": 1},
    {"id": "7", "type": "a.b", "timestamp": "yesterday"},
    {"id": "8", "type": "a.b", "expires_at": "2001-01-01T00:00:00Z"},
    {"id": "9", "type": "a.b", "deliver_at": "2099-01-01T00:00:00Z"},
    {"id": "10", "type": "a.b", "correlation_id": "\n"},
    "text",
    None,
]


async def test_a_bad_event_is_refused_alone_and_as_a_node_refuses_it(redis_url: str) -> None:
    bodies = [orjson.dumps(event) for event in BAD]
    bodies.append(b'{"id":"wide","type":"a.b","payload":{"n":123456789012345678901234567890}}')
    bodies.append(b'{"id":"good","type":"a.b","correlation_id":"k"}')
    async with served(redis_url=redis_url, partitions=P) as address:
        said = []
        for url in (f"http://{address}", redis_url):
            transport = transport_for(url, OPTIONS)
            await transport.start()
            said.append([await transport.publish([body], "accepted") for body in bodies])
            together = await transport.publish(bodies[:11], "accepted")
            assert not any(isinstance(outcome, PublishResult) for outcome in together)
            await transport.close()
    node, client = ([_told(outcomes) for outcomes in each] for each in said)
    assert client[:-1] == node[:-1]
    assert node[-1] == ("good", False)
    assert client[-1] == ("good", True)


def _told(outcomes: list[Any]) -> object:
    (outcome,) = outcomes
    if isinstance(outcome, PublishResult):
        return outcome.id, outcome.duplicate
    return type(outcome), outcome.field, outcome.detail


async def test_large_events_reach_their_owner_without_waiting_for_a_sweep(redis_url: str) -> None:
    listen = f"127.0.0.1:{free_port()}"
    async with (
        served(redis_url=redis_url, partitions=P, listen=listen),
        EventRouterClient(redis_url, options=OPTIONS) as client,
        client.subscription("s").topics("a.*").open() as deliveries,
    ):
        for size in (10, 50_000, 100_000, 50_000, 10):
            await client.publish("a.b", {"x": "y" * size}, correlation_id="key")
            async with asyncio.timeout(SWEEP_S / 2):
                await (await anext(deliveries)).ack()


async def test_nothing_is_lost_or_out_of_order_when_connections_to_redis_break(redis_url: str) -> None:
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    async with (
        cluster_at(redis_url),
        FaultProxy("127.0.0.1", port) as proxy,
        EventRouterClient(f"redis://127.0.0.1:{proxy.port}/0", options=OPTIONS) as client,
    ):
        events = [{"type": "a.b", "id": f"{n}", "correlation_id": f"{n % 2}"} for n in range(600)]
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(client.publish_many(events, batch=5))
            for _ in range(8):
                await asyncio.sleep(0.01)
                proxy.drop_connections()
        assert all(isinstance(outcome, PublishResult) for outcome in sending.result())
    found = [int(event_id) for event_id in await in_streams(redis_url)]
    assert sorted(found) == list(range(600))
    for key in range(2):
        assert [n for n in found if n % 2 == key] == list(range(key, 600, 2))


async def test_the_user_of_redis_in_the_guide_can_publish_and_subscribe_and_read_no_queue(
    own_redis: RedisServer,
) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text(encoding="utf-8")
    rule = guide.partition("```\nACL ")[2].partition("```")[0]
    url = own_redis.url.replace("redis://", "redis://publisher:password@")
    async with (
        Redis.from_url(own_redis.url) as admin,
        served(redis_url=own_redis.url, partitions=P, listen=f"127.0.0.1:{free_port()}"),
    ):
        await admin.execute_command("ACL", *rule.split())
        async with (
            EventRouterClient(url, options=OPTIONS) as client,
            client.subscription("s").topics("a.*").open() as deliveries,
            Redis.from_url(url) as redis,
        ):
            for size in (10, 50_000):
                await client.publish("a.b", {"x": "y" * size}, id=f"{size}", priority=size % 7)
                async with asyncio.timeout(5):
                    await (await anext(deliveries)).ack()
            assert (await client.publish("a.b", id="10", correlation_id="10")).duplicate
            with pytest.raises(NoPermissionError):
                await redis.xrange(Keys("default").dead_letters(0))
            with pytest.raises(NoPermissionError):
                await redis.delete(Keys("default").ingest(0, 5))


async def test_cancelled_publishes_leave_the_others_their_own_answers(redis_url: str) -> None:
    async with cluster_at(redis_url), EventRouterClient(redis_url, options=OPTIONS) as client:
        rng = random.Random(SEED)
        tasks = [asyncio.create_task(client.publish("a.b", id=f"{n}")) for n in range(400)]
        cancelled = set(rng.sample(range(400), 200))
        for n in sorted(cancelled):
            if rng.random() < 0.2:
                await asyncio.sleep(0)
            tasks[n].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for n, outcome in enumerate(found):
            if n not in cancelled:
                assert isinstance(outcome, PublishResult)
                assert (outcome.id, outcome.duplicate) == (f"{n}", False)
        appended = await in_streams(redis_url)
        assert len(appended) == len(set(appended))
        assert {f"{n}" for n in range(400) if n not in cancelled} <= set(appended)
