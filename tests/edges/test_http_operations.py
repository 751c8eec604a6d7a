"""Queries, dead letters, health, and the addresses themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from yarl import URL

from tests.edges.served import Served
from tests.edges.test_http_subscriptions import LATE, Http, call, publish, pull


async def buried(http: Http, *ids: str) -> list[dict[str, Any]]:
    await call(http, "PUT", LATE, {"topics": ["flights.>"], "ordering": "none"})
    await publish(http, *ids)
    found: list[dict[str, Any]] = []
    while len(found) < len(ids):
        deliveries = await pull(http, max=100, wait_s=5)
        found += deliveries
        rejected = [{"delivery_id": each["delivery_id"], "error": "broken"} for each in deliveries]
        assert await call(http, "POST", f"{LATE}/settle", {"reject": rejected}) == (200, {"unknown": []})
    return await letters(http, len(ids))


async def letters(http: Http, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        while len(found := (await call(http, "GET", "/v1/dead-letters"))[1]["dead_letters"]) != count:
            await asyncio.sleep(0.01)
    listed: list[dict[str, Any]] = found
    return listed


async def stored(http: Http, *ids: str) -> None:
    async with asyncio.timeout(5):
        for each in ids:
            while (await call(http, "GET", f"/v1/events/{each}"))[0] != 200:
                await asyncio.sleep(0.01)


async def test_stored_events_are_found_and_paged(http: Http) -> None:
    events = [
        {"type": f"flights.departed.{n % 2}", "id": f"e/{n}", "correlation_id": f"N{n % 3}", "payload": {"n": n}}
        for n in range(6)
    ]
    await call(http, "POST", "/v1/events", events)
    await stored(http, *(f"e%2F{n}" for n in range(6)))
    status, event = await call(http, "GET", "/v1/events/e%2F2")
    assert (status, event["payload"], event["priority"]) == (200, {"n": 2}, 5)
    status, page = await call(http, "GET", "/v1/events?type=flights.*.1&limit=2")
    assert (status, [each["id"] for each in page["events"]]) == (200, ["e/5", "e/3"])
    status, page = await call(http, "GET", f"/v1/events?type=flights.*.1&limit=2&cursor={page['next']}")
    assert (status, [each["id"] for each in page["events"]], page["next"]) == (200, ["e/1"], None)
    status, page = await call(http, "GET", "/v1/events?correlation_id=N0&order=asc")
    assert (status, [each["id"] for each in page["events"]]) == (200, ["e/0", "e/3"])
    status, trace = await call(http, "GET", "/v1/events/e%2F0/trace")
    assert (status, trace["event"]["id"], trace["dead_letters"], trace["complete"]) == (200, "e/0", [], True)
    assert [each["id"] for each in trace["correlation"]] == ["e/0", "e/3"]
    assert trace["accepted_at"].endswith("Z")


BAD_QUERIES: list[tuple[str, str]] = [
    ("colour=red", "colour"),
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=ten", "limit"),
    ("limit=%C2%B2", "limit"),
    ("from=yesterday", "from"),
    ("to=2013-01-01", "to"),
    ("payload=%7B", "payload"),
    ("payload=[]", "payload"),
    ("payload=%7B%22a%22:NaN%7D", "payload"),
    ("type=a..b", "type"),
    ("order=up", "order"),
    ("type=a&type=b", "type"),
    ("source=%00", "source"),
    ("source=%ff", "query"),
]


async def test_a_query_that_is_wrong_is_refused_by_name(node: Served, http: Http) -> None:
    for query, field in BAD_QUERIES:
        async with http.get(URL(f"{node.url}/v1/events?{query}", encoded=True)) as response:
            problem = await response.json(content_type=None)
        assert (response.status, problem["field"]) == (400, field), problem


async def test_a_dead_letter_is_shown_with_its_event(http: Http) -> None:
    (letter,) = await buried(http, "e1")
    assert (letter["subscription"], letter["reason"], letter["error"]) == ("late", "rejected", "broken")
    assert letter["event"]["payload"] == {"n": "e1"}
    status, shown = await call(http, "GET", f"/v1/dead-letters/{letter['id']}")
    history = shown.pop("history")
    assert (status, shown, type(history)) == (200, letter, list)
    assert (await call(http, "GET", "/v1/dead-letters/none"))[0] == 404
    assert (await call(http, "GET", "/v1/dead-letters?subscription=other"))[1]["dead_letters"] == []
    await stored(http, "e1")
    trace = (await call(http, "GET", "/v1/events/e1/trace"))[1]
    assert [each["id"] for each in trace["dead_letters"]] == [letter["id"]]


async def test_dead_letters_are_replayed_and_purged_by_id_or_all(http: Http) -> None:
    found = await buried(http, "e1", "e2", "e3", "e4")
    ids = [letter["id"] for letter in found]
    assert await call(http, "DELETE", f"/v1/dead-letters/{ids[0]}") == (204, None)
    assert (await call(http, "DELETE", f"/v1/dead-letters/{ids[0]}"))[0] == 404
    answer = await call(http, "POST", "/v1/dead-letters/replay", {"ids": [ids[1], "none"]})
    assert answer == (200, {"replayed": 1, "more": False})
    (again,) = await pull(http, wait_s=5)
    assert again["event"]["id"] == found[1]["event_id"]
    nothing = await call(http, "POST", "/v1/dead-letters/purge", {"all": True, "subscription": "other"})
    assert nothing == (200, {"purged": 0, "more": False})
    rest = await call(http, "POST", "/v1/dead-letters/purge", {"all": True, "reason": "rejected"})
    assert rest == (200, {"purged": 2, "more": False})


BAD_CHOICES: list[tuple[Any, str]] = [
    ({}, "ids"),
    ({"all": False}, "ids"),
    ({"ids": [], "all": True}, "ids"),
    ({"ids": "x"}, "ids"),
    ({"ids": [1]}, "ids"),
    ({"ids": ["x"], "subscription": "s"}, "subscription"),
    ({"all": True, "reason": 1}, "reason"),
    ({"every": True}, "every"),
]


async def test_letters_must_be_named_clearly(http: Http) -> None:
    for body, field in BAD_CHOICES:
        for act in ("replay", "purge"):
            status, problem = await call(http, "POST", f"/v1/dead-letters/{act}", body)
            assert (status, problem["field"]) == (400, field)


async def test_health_and_metrics(node: Served, http: Http) -> None:
    assert await call(http, "GET", "/healthz") == (200, {"status": "alive"})
    status, ready = await call(http, "GET", "/readyz")
    assert (status, set(ready["checks"])) == (200, {"transport", "persistence", "queue", "workers"})
    async with http.get("/metrics") as response:
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b"er_" in await response.read()
    node.app.connections.draining = True
    status, ready = await call(http, "GET", "/readyz")
    assert (status, ready["status"]) == (503, "draining")


NOT_SERVED: list[tuple[str, str, int, set[str] | None]] = [
    ("GET", "/", 404, None),
    ("GET", "/v2/events", 404, None),
    ("GET", "/v1/events/", 404, None),
    ("POST", "/v1/events/x", 405, {"GET", "HEAD"}),
    ("PUT", "/v1/events", 405, {"GET", "HEAD", "POST"}),
    ("PATCH", LATE, 405, {"GET", "HEAD", "PUT", "DELETE"}),
    ("GET", "/v1/subscriptions/late/pull", 405, {"POST"}),
    ("DELETE", "/healthz", 405, {"GET", "HEAD"}),
    ("PUT", "/v1/nodes/one/drain", 405, {"POST", "DELETE"}),
    ("POST", "/v1/partitions/3", 405, {"GET", "HEAD"}),
]


async def test_unknown_addresses_and_methods(http: Http) -> None:
    for method, path, status, allow in NOT_SERVED:
        async with http.request(method, path) as response:
            problem = orjson.loads(await response.read())
        assert (response.status, problem["status"]) == (status, status)
        assert response.headers["content-type"] == "application/problem+json"
        assert allow is None or set(response.headers["allow"].split(", ")) == allow


async def test_head_answers_without_a_body(http: Http) -> None:
    async with http.head("/healthz") as response:
        assert (response.status, await response.read()) == (200, b"")
    async with http.head("/v1/events") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_pipelined_rubbish_does_not_hurt_the_server(node: Served, http: Http) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(b"\x00\x01 rubbish\r\n\r\n")
    assert b" 400 " in await asyncio.wait_for(reader.read(200), 5)
    writer.close()
    assert (await call(http, "GET", "/healthz"))[0] == 200
