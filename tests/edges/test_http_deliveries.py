"""The delivery log over HTTP, and the history of a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from router_node.config import Settings
from router_node.node import embedded
from stores.errors import StoreUnavailable
from stores.ports import AttemptPage, AttemptQuery
from tests.edges.served import Served, served
from tests.edges.test_http_operations import letters, stored
from tests.edges.test_http_subscriptions import LATE, Http, call, publish, pull
from tests.support.signals import wait_for


@pytest.fixture
async def node() -> AsyncIterator[Served]:
    """A node that logs every attempt."""
    settings = Settings(database_url="sqlite:///:memory:", delivery_log="all", node_id="node-1")
    async with embedded(settings=settings) as running, served(running.engine, running.management) as server:
        yield server


async def deliveries(http: Http, query: str = "", path: str = "/v1/deliveries") -> list[dict[str, Any]]:
    status, page = await call(http, "GET", f"{path}?{query}")
    assert status == 200, page
    found: list[dict[str, Any]] = page["deliveries"]
    return found


async def logged(http: Http, count: int, query: str = "") -> list[dict[str, Any]]:
    """Wait until so many attempts fit a query."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await deliveries(http, query)
        return len(found) == count

    await wait_for(there, 10, f"{count} attempts are in the log")
    return found


async def settle(http: Http, **settlement: Any) -> None:
    assert await call(http, "POST", f"{LATE}/settle", settlement) == (200, {"unknown": []})


async def one_of_each(http: Http) -> None:
    """Have an event acked at its second attempt, and another rejected."""
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    await publish(http, "e/1")
    (first,) = await pull(http, wait_s=5)
    await settle(http, nack=[{"delivery_id": first["delivery_id"], "delay_s": 0, "error": "not now"}])
    (second,) = await pull(http, wait_s=5)
    await settle(http, ack=[second["delivery_id"]])
    await publish(http, "e2")
    (third,) = await pull(http, wait_s=5)
    await settle(http, reject=[{"delivery_id": third["delivery_id"], "error": "broken"}])
    await logged(http, 3)


async def test_each_attempt_is_told_newest_first(http: Http) -> None:
    await one_of_each(http)

    found = await deliveries(http)

    assert [(d["event_id"], d["attempt"], d["outcome"], d["dead"], d["error"]) for d in found] == [
        ("e2", 1, "rejected", True, "broken"),
        ("e/1", 2, "acked", False, ""),
        ("e/1", 1, "failed", False, "not now"),
    ]
    assert {(d["subscription"], d["node"], d["status"], d["response"]) for d in found} == {("late", "node-1", None, "")}
    assert all(d["at"].endswith("Z") and d["latency_ms"] > 0 for d in found)


async def test_attempts_are_found_by_event_subscription_outcome_and_time(http: Http) -> None:
    await one_of_each(http)
    middle = (await deliveries(http))[1]["at"]

    assert [d["attempt"] for d in await deliveries(http, "event=e/1")] == [2, 1]
    assert [d["attempt"] for d in await deliveries(http, path="/v1/events/e%2F1/deliveries")] == [1, 2]
    assert await deliveries(http, "subscription=late", "/v1/events/none/deliveries") == []
    assert [d["event_id"] for d in await deliveries(http, "subscription=late&outcome=rejected")] == ["e2"]
    assert await deliveries(http, "subscription=other") == []
    assert [d["outcome"] for d in await deliveries(http, f"from={middle}&order=asc")] == ["acked", "rejected"]
    assert [d["outcome"] for d in await deliveries(http, f"to={middle}")] == ["failed"]


async def test_pages_continue(http: Http) -> None:
    await one_of_each(http)

    status, page = await call(http, "GET", "/v1/deliveries?limit=2")
    assert (status, len(page["deliveries"])) == (200, 2)
    status, rest = await call(http, "GET", f"/v1/deliveries?limit=2&cursor={page['next']}")

    assert [d["error"] for d in rest["deliveries"]] == ["not now"]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("outcome=lost", "outcome"),
        ("order=up", "order"),
        ("from=yesterday", "from"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("name=late", "name"),
    ],
)
async def test_bad_queries_are_refused_by_name(http: Http, query: str, field: str) -> None:
    status, problem = await call(http, "GET", f"/v1/deliveries?{query}")
    assert (status, problem["field"]) == (400, field)


async def test_a_dead_letter_has_its_history(http: Http) -> None:
    retry = {"max_attempts": 3, "base_s": 0.001, "max_s": 0.001}
    await call(http, "PUT", LATE, {"topics": ["flights.>"], "retry": retry})
    await publish(http, "e1", "other")
    left = 4
    while left:
        for each in await pull(http, wait_s=5):
            if each["event"]["id"] == "other":
                await settle(http, ack=[each["delivery_id"]])
            else:
                await settle(http, nack=[{"delivery_id": each["delivery_id"], "error": f"no {each['attempt']}"}])
            left -= 1
    await logged(http, 4)
    (letter,) = await letters(http, 1)

    status, shown = await call(http, "GET", f"/v1/dead-letters/{letter['id']}")

    assert (status, shown["attempts"]) == (200, 3)
    assert [(h["attempt"], h["error"], h["dead"]) for h in shown["history"]] == [
        (1, "no 1", False),
        (2, "no 2", False),
        (3, "no 3", True),
    ]


async def test_a_dead_letter_is_shown_without_a_history_while_the_store_is_away(
    http: Http, node: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    await publish(http, "e1")
    (delivery,) = await pull(http, wait_s=5)
    await settle(http, reject=[delivery["delivery_id"]])
    (letter,) = await letters(http, 1)

    async def away(_: AttemptQuery) -> AttemptPage:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(node.management._database.delivery_log, "query", away)  # type: ignore[attr-defined]
    status, shown = await call(http, "GET", f"/v1/dead-letters/{letter['id']}")
    assert (status, shown["history"], shown["error"]) == (200, None, letter["error"])
    assert (await call(http, "GET", "/v1/deliveries"))[0] == 503


async def test_dead_letters_are_counted_by_subscription_and_reason(http: Http) -> None:
    assert await call(http, "GET", "/v1/dead-letters/counts") == (200, {"counts": [], "complete": True})
    await one_of_each(http)
    await letters(http, 1)

    status, found = await call(http, "GET", "/v1/dead-letters/counts")

    assert (status, found["complete"]) == (200, True)
    assert found["counts"] == [{"subscription": "late", "reason": "rejected", "count": 1}]


async def test_dead_letters_are_chosen_by_type_and_time(http: Http) -> None:
    await one_of_each(http)
    (letter,) = await letters(http, 1)
    for query, count in (
        ("type=flights.*", 1),
        ("type=ships.*", 0),
        (f"from={letter['dead_at']}", 1),
        (f"to={letter['dead_at']}", 0),
    ):
        found = (await call(http, "GET", f"/v1/dead-letters?{query}"))[1]["dead_letters"]
        assert len(found) == count, query
    status, problem = await call(http, "GET", "/v1/dead-letters?type=a..b")
    assert (status, problem["field"]) == (400, "type")
    status, problem = await call(http, "POST", "/v1/dead-letters/purge", {"all": True, "from": 7})
    assert (status, problem["field"]) == (400, "from")
    nothing = await call(http, "POST", "/v1/dead-letters/purge", {"all": True, "type": "ships.>"})
    assert nothing == (200, {"purged": 0, "more": False})
    purged = await call(http, "POST", "/v1/dead-letters/purge", {"all": True, "type": "flights.>"})
    assert purged == (200, {"purged": 1, "more": False})


@pytest.mark.parametrize(("setting", "expected"), [("failures", ["failed", "acked"]), ("off", [])])
async def test_less_is_logged_when_less_is_asked_for(setting: str, expected: list[str]) -> None:
    settings = Settings(database_url="sqlite:///:memory:", delivery_log=setting)
    async with (
        embedded(settings=settings) as running,
        served(running.engine, running.management) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        await call(http, "PUT", LATE, {"topics": ["flights.>"], "ordering": "none"})
        await publish(http, "e1", "e2")
        (first,) = await pull(http, max=1, wait_s=5)
        await settle(http, nack=[{"delivery_id": first["delivery_id"], "delay_s": 0}])
        for _ in range(2):
            (delivery,) = await pull(http, max=1, wait_s=5)
            await settle(http, ack=[delivery["delivery_id"]])
        await stored(http, "e1", "e2")
        async with asyncio.timeout(5):
            await running.pipeline.recorder.drain()
        assert [d["outcome"] for d in await deliveries(http, "order=asc")] == expected
