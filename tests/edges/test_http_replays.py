"""Replays, pausing and seeking over HTTP, on an embedded node."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from router_client.errors import EventRouterError
from router_node import replay_run
from router_node.contract import Attachment, Delivery, Settlement
from tests.edges.served import Served
from tests.support.signals import wait_for


class Taker:
    """A consumer that acknowledges all it gets, and keeps the events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.hold: Attachment | None = None

    def take(self, node: Served, name: str) -> Taker:
        self.hold = node.engine.attach(name, self, 100)
        return self

    def push(self, deliveries: list[Delivery]) -> None:
        self.events += [orjson.loads(each.body) for each in deliveries]
        ids = [each.delivery_id for each in deliveries]
        asyncio.get_running_loop().call_soon(self._ack, ids)

    def _ack(self, ids: list[str]) -> None:
        if self.hold is not None:
            self.hold.settle(Settlement(ack=ids))
            self.hold.add_credit(len(ids))

    def ended(self, error: EventRouterError) -> None:
        self.hold = None

    @property
    def numbers(self) -> list[int]:
        return [each["payload"]["n"] for each in self.events]


class Api:
    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def __call__(self, method: str, path: str, body: object = None, status: int | None = None) -> Any:
        async with self._http.request(method, path, json=body) as response:
            answer = await response.json(content_type=None)
            assert response.status == status if status else response.status < 300, answer
            return answer

    async def publish(self, first: int, count: int, kind: str = "a.b", **members: Any) -> None:
        events = [{"type": kind, "correlation_id": "k", "payload": {"n": first + n}, **members} for n in range(count)]
        await self("POST", "/v1/events", events)

    async def stored(self, count: int) -> None:
        async def all_stored() -> bool:
            return len((await self("GET", "/v1/events?limit=1000"))["events"]) >= count

        await wait_for(all_stored, 10, f"{count} events are stored")

    async def done(self, replay_id: str, state: str = "done") -> dict[str, Any]:
        found: dict[str, Any] = {}

        async def ended() -> bool:
            found.update(await self("GET", f"/v1/replays/{replay_id}"))
            return bool(found["state"] != "running")

        await wait_for(ended, 20, "the replay has ended")
        assert found["state"] == state, found
        return found


@pytest.fixture
def api(http: aiohttp.ClientSession) -> Api:
    return Api(http)


async def test_a_replay_goes_to_its_subscription_alone_in_order_and_marked(node: Served, api: Api) -> None:
    for name in ("one", "two"):
        await api("PUT", f"/v1/subscriptions/{name}", {"topics": ["a.>"], "filter": {"payload.n": {"$gte": 2}}})
    one, two = Taker().take(node, "one"), Taker().take(node, "two")
    await api.publish(0, 500)
    await api.publish(0, 3, kind="z.other")
    await api.stored(503)
    await wait_for(lambda: len(one.events) == len(two.events) == 498, 10, "all are delivered")
    del one.events[:], two.events[:]

    started = await api("POST", "/v1/replays", {"subscription": "one", "type": "a.*", "rate": 10_000}, 201)
    assert (started["state"], started["subscription"], started["rate"]) == ("running", "one", 10_000)
    done = await api.done(started["id"])

    assert (done["delivered"], done["skipped"]) == (498, 2)
    await wait_for(lambda: len(one.events) == 498, 10, "all came again")
    assert one.numbers == list(range(2, 500))
    assert {each["metadata"]["replayed"] for each in one.events} == {started["id"]}
    assert two.events == []
    assert [each["id"] for each in (await api("GET", "/v1/replays"))["replays"]] == [started["id"]]
    assert len((await api("GET", "/v1/events?limit=1000"))["events"]) == 503, "nothing is stored again"


async def test_the_rate_is_kept_and_a_replay_can_be_cancelled(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    one = Taker().take(node, "one")
    await api.publish(0, 400)
    await api.stored(400)
    await wait_for(lambda: len(one.events) == 400, 10, "all are delivered")
    del one.events[:]
    began = asyncio.get_running_loop().time()
    started = await api("POST", "/v1/replays", {"subscription": "one", "rate": 100}, 201)
    await wait_for(lambda: len(one.events) >= 150, 10, "half of them came")
    assert asyncio.get_running_loop().time() - began >= (150 - 50) / 100
    cancelled = await api("DELETE", f"/v1/replays/{started['id']}")
    assert cancelled["state"] == "cancelled"
    assert len(one.events) < 400
    conflict = await api("DELETE", f"/v1/replays/{started['id']}", status=409)
    assert "cancelled already" in conflict["detail"]


async def test_a_replay_for_a_subscription_that_is_deleted_fails_and_says_why(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.publish(0, 300)
    await api.stored(300)
    started = await api("POST", "/v1/replays", {"subscription": "one", "rate": 50}, 201)
    await api("DELETE", "/v1/subscriptions/one?backlog=discard")
    assert "no subscription named one" in (await api.done(started["id"], "failed"))["error"]


async def test_a_fault_of_ours_costs_the_replay_and_not_the_node(
    node: Served, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.publish(0, 1)
    await api.stored(1)

    def broken(_: object) -> int:
        raise RuntimeError("no slot")

    monkeypatch.setattr(replay_run, "slot_of", broken)
    started = await api("POST", "/v1/replays", {"subscription": "one"}, 201)
    assert (await api.done(started["id"], "failed"))["error"] == "an unexpected RuntimeError; see the log"
    await api("GET", "/healthz")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no subscription": ({}, "subscription"),
    "an unknown member": ({"subscription": "one", "speed": 5}, "speed"),
    "a bad pattern": ({"subscription": "one", "type": "a..b"}, "type"),
    "a bad time": ({"subscription": "one", "from": "yesterday"}, "from"),
    "the end before the beginning": (
        {"subscription": "one", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        "to",
    ),
    "no rate": ({"subscription": "one", "rate": 0}, "rate"),
    "too fast": ({"subscription": "one", "rate": 10_001}, "rate"),
    "a payload that is none": ({"subscription": "one", "payload": 5}, "payload"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_replayed_is_refused_by_name(api: Api, case: str) -> None:
    body, field = REFUSED[case]
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    assert (await api("POST", "/v1/replays", body, 400))["field"] == field


async def test_what_is_not_there_is_not_found(api: Api) -> None:
    assert (await api("POST", "/v1/replays", {"subscription": "nobody"}, 404))["field"] == "name"
    await api("GET", "/v1/replays/nothing", status=404)
    await api("POST", "/v1/subscriptions/nobody/pause", {}, 404)


async def test_pausing_holds_back_and_a_put_leaves_it_as_it_is(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    one = Taker().take(node, "one")
    paused = await api("POST", "/v1/subscriptions/one/pause", {"reason": "maintenance"})
    assert (paused["paused"], paused["paused_reason"]) == (True, "maintenance")
    await api.publish(0, 3)
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"], "max_in_flight": 5})
    found = await api("GET", "/v1/subscriptions/one")
    assert (found["paused"], found["max_in_flight"]) == (True, 5)
    assert one.events == []
    resumed = await api("POST", "/v1/subscriptions/one/resume")
    assert (resumed["paused"], resumed["paused_reason"]) == (False, "")
    await wait_for(lambda: one.numbers == [0, 1, 2], 10, "what was held back comes")


async def test_seeking_back_replays_from_then_and_passes_over_the_backlog(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.publish(0, 10)
    await api.stored(10)
    events = (await api("GET", "/v1/events?order=asc"))["events"]
    sixth = await api("GET", f"/v1/events/{events[5]['id']}/trace")
    sought = await api("POST", "/v1/subscriptions/one/seek", {"to": sixth["accepted_at"]})
    one = Taker().take(node, "one")
    await api.done(sought["replay"])
    await wait_for(lambda: len(one.events) >= 5, 10, "what came since then")
    await api.publish(10, 1)
    await wait_for(lambda: 10 in one.numbers, 10, "and what comes now")
    assert one.numbers == [5, 6, 7, 8, 9, 10], "the backlog was passed over, not delivered too"
    future = await api("POST", "/v1/subscriptions/one/seek", {"to": "2100-01-01T00:00:00Z"}, 400)
    assert future["field"] == "to"


async def test_a_dead_letter_is_replayed_after_a_seek_too(node: Served, api: Api) -> None:
    await api("PUT", "/v1/subscriptions/one", {"topics": ["a.>"]})
    await api.publish(0, 1)
    (delivery,) = (await api("POST", "/v1/subscriptions/one/pull", {"max": 1, "wait_s": 5}))["deliveries"]
    await api("POST", "/v1/subscriptions/one/settle", {"reject": [delivery["delivery_id"]]})
    letters: list[dict[str, Any]] = []

    async def dead() -> bool:
        letters[:] = (await api("GET", "/v1/dead-letters"))["dead_letters"]
        return len(letters) == 1

    await wait_for(dead, 5, "it is a dead letter")
    await api.stored(1)
    now = (await api("GET", f"/v1/events/{delivery['event']['id']}/trace"))["accepted_at"]
    await api.done((await api("POST", "/v1/subscriptions/one/seek", {"to": now}))["replay"])
    one = Taker().take(node, "one")
    await wait_for(lambda: one.numbers == [0], 5, "the seek brought it again")
    assert (await api("POST", "/v1/dead-letters/replay", {"ids": [letters[0]["id"]]}))["replayed"] == 1
    await wait_for(lambda: one.numbers == [0, 0], 5, "and so did the replay of its letter")
