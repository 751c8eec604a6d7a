"""What replays and seeks must not lose, repeat, or bring in the wrong order, on an embedded node."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from router_node.config import Settings
from router_node.node import embedded
from tests.edges.served import Served, served
from tests.edges.test_http_replays import Api, Taker
from tests.support.signals import wait_for


@pytest.fixture
def api(http: aiohttp.ClientSession) -> Api:
    return Api(http)


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_seek_misses_nothing_that_is_not_stored_yet(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api("POST", "/v1/subscriptions/one/pause")
    began = datetime.now(UTC).isoformat()
    for n in range(10):
        await api.publish(n, 1)
        last = await api("POST", "/v1/subscriptions/one/seek", {"to": began})
    await api("POST", "/v1/subscriptions/one/resume")
    one = Taker().take(node, "one")
    done = await api.done(last["replay"])
    await wait_for(lambda: len(one.events) >= 10, 10, "all came")
    assert one.numbers == list(range(10)), "each once: what the seeks before the last had queued was passed over"
    assert done["delivered"] == 10


async def test_a_seek_takes_the_place_of_what_was_replayed(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api("PUT", "/v1/subscriptions/two", {"topics": ["a.>"]})
    await api("POST", "/v1/subscriptions/one/pause")
    await api.publish(0, 50)
    await api.stored(50)
    slow = await api("POST", "/v1/replays", {"subscription": "one", "rate": 10}, 201)
    other = await api("POST", "/v1/replays", {"subscription": "two", "rate": 10}, 201)
    now = datetime.now(UTC).isoformat()
    sought = await api("POST", "/v1/subscriptions/one/seek", {"to": now})
    assert sought["replay"] in (await api.done(slow["id"], "cancelled"))["error"]
    assert (await api("GET", f"/v1/replays/{other['id']}"))["state"] == "running"
    await api.publish(50, 1)
    await api("POST", "/v1/subscriptions/one/resume")
    one = Taker().take(node, "one")
    await wait_for(lambda: 50 in one.numbers, 10, "what came after the seek")
    assert one.numbers == [50]


async def test_what_is_scheduled_comes_at_its_time_whatever_is_replayed_or_sought(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    one = Taker().take(node, "one")
    began = datetime.now(UTC).isoformat()
    await api.publish(0, 1, deliver_at=soon(2.0))
    await api.publish(1, 1)
    await api.stored(2)
    await wait_for(lambda: one.numbers == [1], 10, "what is not scheduled")
    replay = await api("POST", "/v1/replays", {"subscription": "one"}, 201)
    assert (await api.done(replay["id"]))["skipped"] == 1
    await wait_for(lambda: one.numbers == [1, 1], 10, "what was routed came again")
    await api.done((await api("POST", "/v1/subscriptions/one/seek", {"to": began}))["replay"])
    await wait_for(lambda: len(one.numbers) >= 4, 10, "once more, and what was scheduled")
    assert one.numbers == [1, 1, 1, 0], "the seek passed over the backlog, not over what was still to come"


async def test_what_has_expired_is_not_replayed(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.publish(0, 1, expires_at=soon(0.5))
    await api.publish(1, 1)
    await api.stored(2)
    await asyncio.sleep(0.6)  # nothing tells of an event in the store that its time has passed
    replay = await api("POST", "/v1/replays", {"subscription": "one"}, 201)
    done = await api.done(replay["id"])
    assert (done["delivered"], done["skipped"]) == (1, 1)


async def test_a_strict_subscription_gets_its_replay_in_order_across_priorities(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"], "ordering": "strict"})
    for n in range(30):
        await api.publish(n, 1, priority=(7 * n) % 10)
    await api.stored(30)
    one = Taker().take(node, "one")
    await wait_for(lambda: len(one.events) == 30, 10, "all are delivered")
    del one.events[:]
    await api.done((await api("POST", "/v1/replays", {"subscription": "one", "rate": 10_000}, 201))["id"])
    await wait_for(lambda: len(one.events) == 30, 10, "all came again")
    assert one.numbers == list(range(30))


async def test_what_is_replayed_counts_as_backlog_while_nobody_takes_it(node: Served, api: Api) -> None:
    await api.publish(0, 20)
    await api.stored(20)
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.done((await api("POST", "/v1/replays", {"subscription": "one"}, 201))["id"])
    assert (await api("GET", "/v1/subscriptions/one"))["backlog"] == 20
    await api("DELETE", "/v1/subscriptions/one", status=409)


async def test_a_replay_ends_now_even_when_its_end_is_to_come(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    replay = await api("POST", "/v1/replays", {"subscription": "one", "to": soon(3600)}, 201)
    assert replay["query"]["to"] < soon(1)
    await api.done(replay["id"])


async def test_what_a_global_filter_keeps_back_is_not_replayed() -> None:
    settings = Settings(database_url="sqlite:///:memory:", global_filters=[{"payload.n": {"$lt": 3}}])
    async with (
        embedded(settings=settings) as running,
        served(running.engine, running.management) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        api = Api(http)
        await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
        await api.publish(0, 5)
        await api.stored(5)
        done: dict[str, Any] = await api.done((await api("POST", "/v1/replays", {"subscription": "one"}, 201))["id"])
        assert (done["delivered"], done["skipped"]) == (3, 2)


async def test_deleting_a_subscription_ends_its_replays_before_one_of_its_name_is_made(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.publish(0, 100)
    await api.stored(100)
    replay = await api("POST", "/v1/replays", {"subscription": "one", "rate": 10}, 201)
    await api("DELETE", "/v1/subscriptions/one?backlog=discard")
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    assert "deleted" in (await api.done(replay["id"], "failed"))["error"]
