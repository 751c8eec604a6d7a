"""`POST /v1/filters/test`, on an embedded node."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import aiohttp
import pytest

from router_node import filter_desk
from router_node.config import Settings
from router_node.node import embedded
from router_node.routing.filter_trial import Trial, try_filter
from tests.edges.served import Served, served
from tests.support.signals import wait_for

EVENT = {"type": "orders.created", "payload": {"amount": 50}}
OVER_100 = {"payload.amount": {"$gt": 100}}


async def ask(http: aiohttp.ClientSession, body: Any, status: int = 200) -> Any:
    async with http.post("/v1/filters/test", json=body) as response:
        answer = await response.json(content_type=None)
        assert response.status == status, answer
        return answer


async def test_a_filter_and_an_event_object(http: aiohttp.ClientSession) -> None:
    answer = await ask(http, {"filter": OVER_100, "event": EVENT})

    assert answer == {
        "matches": False,
        "conditions": [
            {
                "field": "filter.payload.amount.$gt",
                "operator": "$gt",
                "holds": False,
                "path": "payload.amount",
                "found": [{"value": 50}],
                "more": 0,
                "operand": {"value": 100},
            }
        ],
    }
    assert (await ask(http, {"filter": {}, "event": EVENT})) == {"matches": True, "conditions": []}


async def test_topics_are_asked_before_a_filter(http: aiohttp.ClientSession) -> None:
    answer = await ask(http, {"filter": {}, "topics": ["flights.>"], "event": EVENT})

    assert answer["matches"] is False
    assert answer["topics"] == {"patterns": ["flights.>"], "type": "orders.created", "holds": False}


async def test_a_stored_event(http: aiohttp.ClientSession, node: Served) -> None:
    await node.engine.publish([{**EVENT, "id": "e-1"}])

    async def stored() -> bool:
        async with http.get("/v1/events/e-1") as response:
            return response.status == 200

    await wait_for(stored, 5, "the event is stored")
    answer = await ask(http, {"filter": {"id": "e-1", "payload.amount": {"$lt": 100}}, "event_id": "e-1"})
    assert answer["matches"] is True
    assert answer["conditions"][0]["found"] == [{"value": "e-1"}]


async def test_a_subscription_with_its_topics_its_target_and_the_global_filters() -> None:
    settings = Settings(database_url="sqlite:///:memory:", global_filters=[{"source": {"$ne": "test"}}])
    async with embedded(settings=settings) as running, served(running.engine, running.management) as server:
        await running.management.put_subscription("billing", {"topics": ["orders.*"], "filter": OVER_100})
        async with aiohttp.ClientSession(server.url) as http:
            event = {"type": "orders.created", "payload": {"amount": 120}}
            assert (await ask(http, {"subscription": "billing", "event": event}))["matches"] is True
            event |= {"target": "audit", "source": "test"}
            answer = await ask(http, {"subscription": "billing", "event": event})

    assert answer["matches"] is False
    assert answer["conditions"][0]["holds"] is answer["topics"]["holds"] is True
    assert answer["target"] == {"subscription": "billing", "target": "audit", "holds": False}
    assert [(each["field"], each["holds"]) for each in answer["global_filters"]] == [
        ("global_filters[0].source.$ne", False)
    ]


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([], "body"),
    "an unknown member": ({"filter": {}, "event": EVENT, "where": {}}, "where"),
    "neither a filter nor a subscription": ({"event": EVENT}, "filter"),
    "both": ({"filter": {}, "subscription": "billing", "event": EVENT}, "filter"),
    "no event": ({"filter": {}}, "event"),
    "two events": ({"filter": {}, "event": EVENT, "event_id": "e-1"}, "event"),
    "a filter that is no object": ({"filter": [1], "event": EVENT}, "filter"),
    "a bad filter": ({"filter": {"payload.amount": {"$over": 1}}, "event": EVENT}, "filter.payload.amount.$over"),
    "a bad event": ({"filter": {}, "event": {"type": "a", "priority": 12}}, "event.priority"),
    "a bad pattern": ({"filter": {}, "topics": ["a", "b..c"], "event": EVENT}, "topics[1]"),
    "no pattern": ({"filter": {}, "topics": [], "event": EVENT}, "topics"),
    "topics for a subscription": ({"subscription": "billing", "topics": ["a"], "event": EVENT}, "topics"),
    "a name that is no text": ({"subscription": 5, "event": EVENT}, "subscription"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_tried_is_refused_by_name(http: aiohttp.ClientSession, case: str) -> None:
    body, field = REFUSED[case]

    assert (await ask(http, body, 400))["field"] == field


async def test_what_is_not_there_is_not_found(http: aiohttp.ClientSession) -> None:
    assert (await ask(http, {"filter": {}, "event_id": "nothing"}, 404))["field"] == "id"
    assert (await ask(http, {"subscription": "nobody", "event": EVENT}, 404))["field"] == "name"


async def test_a_trial_that_takes_long_leaves_the_node_to_the_others(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def slow(*arguments: Any) -> Trial:
        assert answered.wait(5), "nothing else was answered while it ran"
        return try_filter(*arguments)

    monkeypatch.setattr(filter_desk, "try_filter", slow)
    async with asyncio.TaskGroup() as tasks:
        trial = tasks.create_task(ask(http, {"filter": OVER_100, "event": EVENT}))
        async with http.get("/healthz") as response:
            assert response.status == 200
        answered.set()
    assert trial.result()["matches"] is False
