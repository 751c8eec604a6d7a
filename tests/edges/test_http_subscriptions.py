"""Subscriptions over HTTP: create, look, pull, settle, delete."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from router_node.routing import route_table
from tests.edges.served import Served

Http = aiohttp.ClientSession
LATE = "/v1/subscriptions/late"


async def call(http: Http, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    async with http.request(method, path, data=data, headers={"content-type": "application/json"}) as response:
        text = await response.read()
        return response.status, orjson.loads(text) if text else None


async def publish(http: Http, *ids: str) -> None:
    events = [{"type": "flights.departed", "id": each, "payload": {"n": each}} for each in ids]
    status, body = await call(http, "POST", "/v1/events", events)
    assert status == 200
    assert [result["id"] for result in body["results"]] == list(ids)


async def pull(http: Http, **body: Any) -> list[dict[str, Any]]:
    status, answer = await call(http, "POST", f"{LATE}/pull", body)
    assert status == 200, answer
    deliveries: list[dict[str, Any]] = answer["deliveries"]
    return deliveries


async def test_a_subscription_is_created_changed_listed_and_deleted(http: Http) -> None:
    status, spec = await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    assert (status, spec["name"], spec["max_in_flight"]) == (201, "late", 100)
    status, spec = await call(http, "PUT", LATE, {"topics": ["flights.>"], "max_in_flight": 7})
    assert (status, spec["max_in_flight"]) == (200, 7)
    status, found = await call(http, "GET", LATE)
    assert (status, found["topics"], found["consumers"]) == (200, ["flights.>"], 0)
    status, listed = await call(http, "GET", "/v1/subscriptions")
    assert (status, [each["name"] for each in listed["subscriptions"]]) == (200, ["late"])
    assert await call(http, "DELETE", LATE) == (204, None)
    status, problem = await call(http, "GET", LATE)
    assert (status, problem["code"]) == (404, "not_found")


async def test_a_backlog_is_deleted_only_when_asked_to(http: Http) -> None:
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    await publish(http, "e1")
    await until(lambda: backlog(http), 1)
    assert (await call(http, "DELETE", LATE))[0] == 409
    assert (await call(http, "DELETE", f"{LATE}?backlog=perhaps"))[0] == 400
    assert (await call(http, "DELETE", f"{LATE}?backlog=discard"))[0] == 204


async def backlog(http: Http) -> int:
    return int((await call(http, "GET", LATE))[1]["backlog"])


async def until(read: Any, value: int) -> None:
    async with asyncio.timeout(5):
        while await read() != value:
            await asyncio.sleep(0.01)


async def test_what_is_pulled_is_acknowledged_retried_or_buried(http: Http) -> None:
    await call(http, "PUT", LATE, {"topics": ["flights.>"], "ordering": "none"})
    await publish(http, "e1", "e2", "e3")
    first, second, third = await pull(http, max=3, wait_s=5)
    assert (first["event"]["payload"], first["attempt"]) == ({"n": "e1"}, 1)
    status, answer = await call(
        http,
        "POST",
        f"{LATE}/settle",
        {
            "ack": [first["delivery_id"], "0.0.never"],
            "nack": [{"delivery_id": second["delivery_id"], "delay_s": 0, "error": "later"}],
            "reject": [{"delivery_id": third["delivery_id"], "error": "broken"}],
        },
    )
    assert (status, answer) == (200, {"unknown": ["0.0.never"]})
    (again,) = await pull(http, max=10, wait_s=5)
    assert (again["event"]["id"], again["attempt"]) == ("e2", 2)
    status, answer = await call(http, "POST", f"{LATE}/settle", {"extend": [again["delivery_id"]]})
    assert (status, answer) == (200, {"unknown": []})
    await call(http, "POST", f"{LATE}/settle", {"ack": [again["delivery_id"]]})
    await until(lambda: backlog(http), 0)


async def test_a_pull_answers_as_soon_as_something_comes(http: Http) -> None:
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    assert await pull(http) == []
    waiting = asyncio.create_task(pull(http, wait_s=30))
    await until(lambda: consumers(http), 1)
    await publish(http, "e1")
    (delivery,) = await asyncio.wait_for(waiting, 5)
    assert delivery["event"]["id"] == "e1"


async def consumers(http: Http) -> int:
    return int((await call(http, "GET", LATE))[1]["consumers"])


async def test_a_client_that_leaves_while_waiting_takes_nothing_along(node: Served, http: Http) -> None:
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    async with aiohttp.ClientSession(node.url) as other:
        waiting = asyncio.create_task(pull(other, wait_s=30))
        await until(lambda: consumers(http), 1)
        waiting.cancel()
        await asyncio.wait([waiting])
    await until(lambda: consumers(http), 0)
    await publish(http, "e1")
    (delivery,) = await pull(http, wait_s=5)
    assert delivery["attempt"] == 1


async def test_a_waiting_pull_ends_when_the_node_stops_or_the_subscription_goes(node: Served, http: Http) -> None:
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    waiting = asyncio.create_task(call(http, "POST", f"{LATE}/pull", {"wait_s": 30}))
    await until(lambda: consumers(http), 1)
    await call(http, "DELETE", LATE)
    assert (await asyncio.wait_for(waiting, 5))[0] == 404
    await call(http, "PUT", LATE, {"topics": ["flights.>"]})
    waiting = asyncio.create_task(call(http, "POST", f"{LATE}/pull", {"wait_s": 30}))
    await until(lambda: consumers(http), 1)
    node.stop.set()
    assert await asyncio.wait_for(waiting, 5) == (200, {"deliveries": []})


BAD_REQUESTS: list[tuple[str, str, Any, int, str]] = [
    ("PUT", "/v1/subscriptions/bad%20name", {"topics": ["a"]}, 400, "name"),
    ("PUT", LATE, b"{", 400, "body"),
    ("PUT", LATE, b'{"topics":["\xff"]}', 400, "body"),
    ("PUT", LATE, {}, 400, "topics"),
    ("PUT", LATE, [], 400, "subscription"),
    ("PUT", LATE, {"topics": "a"}, 400, "topics"),
    ("PUT", LATE, {"topics": ["a", "b..c"]}, 400, "topics[1]"),
    ("PUT", LATE, {"topics": ["a.>.b"]}, 400, "topics[0]"),
    ("PUT", LATE, {"topics": ["a"], "filter": {"payload.x": {"$bad": 1}}}, 400, "filter.payload.x.$bad"),
    ("PUT", LATE, {"topics": ["a"], "colour": 1}, 400, "colour"),
    ("PUT", LATE, {"topics": ["a"], "max_in_flight": 0}, 400, "max_in_flight"),
    ("PUT", LATE, {"topics": ["a"], "retry": {"base_s": -1}}, 400, "retry.base_s"),
    ("PUT", f"{LATE}?x=1", {"topics": ["a"]}, 400, "x"),
    ("POST", f"{LATE}/pull", {"max": 0}, 400, "max"),
    ("POST", f"{LATE}/pull", {"max": 1001}, 400, "max"),
    ("POST", f"{LATE}/pull", {"wait_s": 31}, 400, "wait_s"),
    ("POST", f"{LATE}/pull", {"wait_s": "1"}, 400, "wait_s"),
    ("POST", f"{LATE}/pull", {"most": 1}, 400, "most"),
    ("POST", f"{LATE}/pull", [1], 400, "body"),
    ("POST", "/v1/subscriptions/none/pull", {}, 404, "name"),
    ("POST", "/v1/subscriptions/none/settle", {}, 404, "name"),
    ("POST", f"{LATE}/settle", {"ack": "x"}, 400, "ack"),
    ("POST", f"{LATE}/settle", {"ack": [1]}, 400, "ack"),
    ("POST", f"{LATE}/settle", {"nack": [{"delay_s": 1}]}, 400, "nack[0].delivery_id"),
    ("POST", f"{LATE}/settle", {"nack": [{"delivery_id": "x", "delay_s": -1}]}, 400, "nack[0].delay_s"),
    ("POST", f"{LATE}/settle", {"reject": [{"delivery_id": "x", "delay_s": 1}]}, 400, "reject[0].delay_s"),
    ("POST", f"{LATE}/settle", {"forget": []}, 400, "forget"),
    ("PUT", LATE, b'{"topics":["' + b"x" * 1_100_000 + b'"]}', 413, "body"),
]


async def test_what_is_wrong_is_named(http: Http) -> None:
    for method, path, body, status, field in BAD_REQUESTS:
        await call(http, "PUT", LATE, {"topics": ["kept"]})
        got, problem = await call(http, method, path, body)
        assert (got, problem.get("status"), problem.get("field")) == (status, status, field), problem
        assert (await call(http, "GET", LATE))[1]["topics"] == ["kept"]


async def test_a_filter_that_would_cost_every_event_too_much_is_refused_and_changes_nothing(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_table, "FEW", 0)
    monkeypatch.setattr(route_table, "MAX_LOAD", 1)
    await call(http, "PUT", LATE, {"topics": ["flights.>"], "filter": {"payload.n": {"$ne": "e1"}}})

    other = {"topics": ["flights.>"], "filter": {"payload.n": {"$ne": "e2"}}}
    status, problem = await call(http, "PUT", "/v1/subscriptions/other", other)
    assert (status, problem["code"], problem["field"]) == (409, "conflict", "filter")
    assert (await call(http, "GET", "/v1/subscriptions/other"))[0] == 404
    both = {"topics": ["flights.>"], "filter": {"payload.n": {"$nin": ["e1", "e2"]}, "source": {"$ne": "x"}}}
    assert (await call(http, "PUT", LATE, both))[0] == 409
    await publish(http, "e1", "e2")

    assert [delivery["event"]["id"] for delivery in await pull(http, max=10, wait_s=5)] == ["e2"]


async def answered(
    http: Http, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, str | None, dict[str, Any]]:
    data = None if body is None else orjson.dumps(body)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.request(method, path, data=data, headers={"content-type": "application/json", **sent}) as response:
        text = await response.read()
        return response.status, response.headers.get("etag"), orjson.loads(text) if text else {}


async def test_a_change_is_made_only_to_what_its_maker_has_seen(http: Http) -> None:
    topics = {"topics": ["flights.>"]}
    status, first, body = await answered(http, "PUT", LATE, topics, if_none_match="*")
    assert (status, first) == (201, f'"{body["revision"]}"')
    assert first is not None
    status, seen, body = await answered(http, "GET", LATE)
    assert (status, seen, first) == (200, first, f'"{body["revision"]}"')

    status, second, _ = await answered(http, "PUT", LATE, {**topics, "max_in_flight": 7}, if_match=first)
    assert (status, second == first) == (200, False)
    assert second is not None
    for method, body in (("PUT", topics), ("DELETE", None)):
        for name, value in (("if_match", first), ("if_none_match", "*")):
            status, _, problem = await answered(http, method, LATE, body, **{name: value})
            assert (status, problem["code"], problem["field"]) == (412, "precondition_failed", "revision")
    assert (await answered(http, "GET", LATE))[1:][1]["max_in_flight"] == 7

    status, third, _ = await answered(http, "POST", f"{LATE}/pause", {})
    assert (status, third in (first, second, None)) == (200, False)
    assert (await answered(http, "DELETE", LATE, if_match=second))[0] == 412
    assert (await answered(http, "DELETE", LATE, if_match=str(third)))[0] == 204
    assert (await answered(http, "PUT", LATE, topics, if_match="*"))[0] == 412
    assert (await answered(http, "PUT", LATE, topics, if_match=str(third)))[0] == 412
    assert (await answered(http, "GET", LATE))[0] == 404


async def test_a_change_that_was_refused_leaves_what_another_node_has_made_of_it(node: Served, http: Http) -> None:
    _, seen, _ = await answered(http, "PUT", LATE, {"topics": ["flights.>"]})
    store = node.management._database.subscriptions  # type: ignore[attr-defined]
    await store.put("late", {"name": "late", "topics": ["trains.>"]})

    assert (await answered(http, "PUT", LATE, {"topics": ["x.>"]}, if_match=str(seen)))[0] == 412
    _, _, body = await answered(http, "GET", LATE)
    assert body["topics"] == ["flights.>"]
    # A change of single members is made to what is there now.
    assert (await answered(http, "POST", f"{LATE}/pause", {}))[0] == 200
    _, _, body = await answered(http, "GET", LATE)
    assert (body["topics"], body["paused"]) == (["trains.>"], True)


async def test_what_could_never_be_met_is_refused(http: Http) -> None:
    await answered(http, "PUT", LATE, {"topics": ["flights.>"]})
    for headers, field in (
        ({"if_match": "42"}, "if-match"),
        ({"if_match": 'W/"1"'}, "if-match"),
        ({"if_match": '"1", "2"'}, "if-match"),
        ({"if_match": '"0"'}, "if-match"),
        ({"if_match": '"' + "9" * 30 + '"'}, "if-match"),
        ({"if_none_match": '"1"'}, "if-none-match"),
        ({"if_match": "*", "if_none_match": "*"}, "if-none-match"),
    ):
        status, _, problem = await answered(http, "PUT", LATE, {"topics": ["x.>"]}, **headers)
        assert (status, problem["field"]) == (400, field), headers


async def test_of_many_who_change_the_same_one_succeeds(http: Http) -> None:
    _, seen, _ = await answered(http, "PUT", LATE, {"topics": ["flights.>"]})
    changes = [{"topics": ["flights.>"], "max_in_flight": number} for number in range(2, 12)]

    answers = await asyncio.gather(*(answered(http, "PUT", LATE, body, if_match=str(seen)) for body in changes))

    (made,) = [body for status, _, body in answers if status == 200]
    assert sorted(status for status, _, _ in answers) == [200] + [412] * 9
    _, after, body = await answered(http, "GET", LATE)
    assert (body["max_in_flight"], after) == (made["max_in_flight"], f'"{made["revision"]}"')


async def test_subscriptions_come_in_pages(http: Http) -> None:
    names = sorted(f"s{number}" for number in range(25))
    for name in names:
        await call(http, "PUT", f"/v1/subscriptions/{name}", {"topics": ["a.>"]})
    assert await walked(http, 7) == names
    assert await walked(http, 25) == names
    await call(http, "DELETE", "/v1/subscriptions/s11")
    await call(http, "PUT", "/v1/subscriptions/s111", {"topics": ["a.>"]})
    assert await walked(http, 10) == sorted({*names, "s111"} - {"s11"})

    for query, field in (
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=", "cursor"),
        ("cursor=abc", "cursor"),
    ):
        status, problem = await call(http, "GET", f"/v1/subscriptions?{query}")
        assert (status, problem["field"]) == (400, field)


async def walked(http: Http, limit: int) -> list[str]:
    names: list[str] = []
    cursor = ""
    while True:
        _, page = await call(http, "GET", f"/v1/subscriptions?limit={limit}{cursor}")
        assert len(page["subscriptions"]) <= limit
        names += [each["name"] for each in page["subscriptions"]]
        if page["next"] is None:
            return names
        cursor = f"&cursor={page['next']}"
