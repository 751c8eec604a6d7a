"""An event that some filters take too long to check on: delivered to the others, and a dead letter of those."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from router_node.config import Settings
from router_node.flow import undecided
from router_node.node import embedded
from tests.edges.served import served
from tests.edges.test_http_operations import letters
from tests.edges.test_http_subscriptions import Http, call

SLOW = {"$or": [{"payload.v": {"$mod": [10**6, number]}} for number in range(50)]}
HUGE = {"type": "flights.departed", "id": "huge", "payload": {"n": 1, "v": list(range(1000, 4000))}}


async def subscribe(http: Http, name: str, wanted: dict[str, Any]) -> None:
    spec = {"topics": ["flights.>"], "filter": wanted}
    assert (await call(http, "PUT", f"/v1/subscriptions/{name}", spec))[0] in (200, 201)


async def pulled(http: Http, name: str, wait_s: float = 5) -> list[str]:
    _, answer = await call(http, "POST", f"/v1/subscriptions/{name}/pull", {"max": 10, "wait_s": wait_s})
    return [each["event"]["id"] for each in answer["deliveries"]]


async def publish(http: Http, *events: dict[str, Any]) -> None:
    assert (await call(http, "POST", "/v1/events", list(events)))[0] == 200


async def test_it_goes_to_the_others_and_is_a_dead_letter_of_the_subscription_left_undecided(http: Http) -> None:
    await subscribe(http, "slow", SLOW)
    await subscribe(http, "cheap", {"payload.n": 1})
    await subscribe(http, "none", {"payload.n": 2})
    await publish(http, HUGE, {**HUGE, "id": "small", "payload": {"n": 1, "v": [7]}})

    (letter,) = await letters(http, 1)
    assert (letter["subscription"], letter["reason"], letter["event_id"]) == ("slow", "filter_cost", "huge")
    assert "more than an event of" in letter["error"]
    assert letter["event"]["payload"] == HUGE["payload"]
    assert await pulled(http, "cheap") == ["huge", "small"]
    assert await pulled(http, "slow") == ["small"]
    assert await pulled(http, "none", 0) == []
    assert (await call(http, "GET", "/v1/events/huge"))[0] == 200


async def test_its_operator_learns_whether_it_matches_and_has_it_delivered(http: Http) -> None:
    await subscribe(http, "slow", {"$or": [*SLOW["$or"], {"payload.v": {"$mod": [10**6, 3999]}}]})
    await publish(http, HUGE)
    (letter,) = await letters(http, 1)

    _, tried = await call(http, "POST", "/v1/filters/test", {"subscription": "slow", "event": letter["event"]})
    assert tried["matches"] is True
    assert await call(http, "POST", "/v1/dead-letters/replay", {"ids": [letter["id"]]}) == (
        200,
        {"replayed": 1, "more": False},
    )

    assert await pulled(http, "slow") == ["huge"]
    assert await letters(http, 0) == []


async def test_a_letter_of_the_router_is_for_those_that_are_too_many(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undecided, "LETTERS", 2)
    for number in range(5):
        await subscribe(http, f"slow{number}", SLOW)
    await publish(http, HUGE)

    found = await letters(http, 3)

    assert [each["subscription"] for each in found] == ["slow0", "slow1", "_router"]
    assert "3 more subscriptions" in found[2]["error"]
    assert "slow2, slow3, slow4" in found[2]["error"]


async def test_for_an_event_with_a_target_it_is_the_same(http: Http) -> None:
    await subscribe(http, "slow", SLOW)
    await publish(http, {**HUGE, "target": "slow"})

    assert [each["subscription"] for each in await letters(http, 1)] == ["slow"]


async def test_global_filters_that_take_too_long_keep_the_event_for_all_it_went_to() -> None:
    settings = Settings(database_url="sqlite:///:memory:", global_filters=[{"$nor": SLOW["$or"]}])
    async with (
        embedded(settings=settings) as running,
        served(running.engine, running.management) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        await subscribe(http, "any", {})
        await subscribe(http, "other", {"payload.n": 2})
        await publish(http, HUGE, {**HUGE, "id": "small", "payload": {"n": 1, "v": [700]}})

        assert [each["subscription"] for each in await letters(http, 1)] == ["any"]
        assert await pulled(http, "any") == ["small"]
