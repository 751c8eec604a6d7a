"""POST /v1/events: every format, and every way to get it wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from router_client.errors import EventRouterError, Overloaded
from router_client.event import MAX_EVENT_BYTES
from router_node.contract import Published, Results
from router_node.node import Node, embedded
from router_node.security.permit import Permit
from tests.edges.served import Served, served

Http = aiohttp.ClientSession
JSON = {"content-type": "application/json"}
GOOD = {"type": "flights.departed.EWR.UA", "payload": {"dep_delay": 2}, "correlation_id": "N14228"}


async def post(http: Http, body: bytes, content_type: str = "application/json", **headers: str) -> tuple[int, Any]:
    async with http.post("/v1/events", data=body, headers={"content-type": content_type, **headers}) as response:
        return response.status, orjson.loads(await response.read())


async def stored(http: Http, event_id: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            async with http.get(f"/v1/events/{event_id}") as response:
                body: dict[str, Any] = await response.json(content_type=None)
                if response.status == 200:
                    return body
            await asyncio.sleep(0.01)


async def test_one_event_is_accepted_with_its_id_and_partition(http: Http) -> None:
    status, body = await post(http, orjson.dumps({**GOOD, "id": "e-1"}))
    assert (status, body["id"], body["duplicate"]) == (202, "e-1", False)
    assert isinstance(body["partition"], int)
    _, again = await post(http, orjson.dumps({**GOOD, "id": "e-1"}))
    assert again == {**body, "duplicate": True}


async def test_an_array_is_answered_event_by_event_in_order(http: Http) -> None:
    bad = {**GOOD, "priority": 10}
    status, body = await post(http, orjson.dumps([{**GOOD, "id": "a"}, bad, 7, {**GOOD, "id": "b"}]))
    assert status == 200
    first, second, third, fourth = body["results"]
    assert (first["id"], fourth["id"]) == ("a", "b")
    assert (second["error"]["field"], second["error"]["status"]) == ("priority", 400)
    assert third["error"]["field"] == "event"


async def test_a_bad_line_of_ndjson_spoils_no_other(http: Http) -> None:
    lines = [
        orjson.dumps({**GOOD, "id": "l1"}),
        b'{"type": ',
        b"",
        b'{"type":"a\xff"}',
        b'{"type":"a","payload":{"n":123456789012345678901234567890}}',
        orjson.dumps({**GOOD, "type": "flights..x"}),
        orjson.dumps({**GOOD, "id": "l6", "payload": {"text": "\u2028"}}),
    ]
    status, body = await post(http, b"\n".join(lines), "application/x-ndjson")
    assert status == 200
    assert [result.get("id") or result["error"]["field"] for result in body["results"]] == [
        "l1",
        "line 2",
        "line 4",
        "line 5",
        "type",
        "l6",
    ]


async def test_cloudevents_in_all_three_modes(http: Http) -> None:
    event = {"specversion": "1.0", "id": "c1", "source": "/faa", "type": "flights.arrived", "data": {"x": 1}}
    status, body = await post(http, orjson.dumps(event), "application/cloudevents+json")
    assert (status, body["id"]) == (202, "c1")
    batch = [{**event, "id": "c2"}, {**event, "id": "c3", "specversion": "7"}]
    status, body = await post(http, orjson.dumps(batch), "application/cloudevents-batch+json; charset=utf-8")
    assert (status, body["results"][0]["id"]) == (200, "c2")
    assert body["results"][1]["error"]["field"] == "specversion"
    headers = {"ce-specversion": "1.0", "ce-id": "c4", "ce-source": "/faa", "ce-type": "flights.arrived"}
    status, body = await post(http, b'{"x": 1}', "application/json", **headers)
    assert (status, body["id"]) == (202, "c4")
    assert (await stored(http, "c4"))["payload"] == {"x": 1}
    status, body = await post(http, b"{}", "application/json", **{**headers, "ce-type": "not a topic"})
    assert (status, body["field"]) == (400, "type")


async def test_stored_events_are_given_as_cloudevents_to_who_asks_so(http: Http) -> None:
    for name in ("e-1", "e-2", "e-3"):
        await post(http, orjson.dumps({**GOOD, "id": name}))
        await stored(http, name)
    async with http.get(
        "/v1/events/e-1", headers={"accept": "text/html, application/cloudevents+json;q=0.9"}
    ) as answer:
        assert (answer.content_type, answer.headers["vary"]) == ("application/cloudevents+json", "accept")
        one = orjson.loads(await answer.read())
    assert (one["specversion"], one["id"], one["type"], one["data"]) == ("1.0", "e-1", GOOD["type"], GOOD["payload"])

    found, page = [], "/v1/events?order=asc&limit=2"
    while page:
        async with http.get(page, headers={"accept": "application/cloudevents-batch+json"}) as answer:
            assert answer.content_type == "application/cloudevents-batch+json"
            found += orjson.loads(await answer.read())
            page = str(answer.links["next"]["url"].relative()) if "next" in answer.links else ""
    assert [each["id"] for each in found] == ["e-1", "e-2", "e-3"]
    _, again = await post(http, orjson.dumps(found), "application/cloudevents-batch+json")
    assert [(each["id"], each["duplicate"]) for each in again["results"]] == [(n, True) for n in ("e-1", "e-2", "e-3")]


async def test_trace_context_of_the_request_is_kept_unless_the_event_has_its_own(http: Http) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = "00-11111111111111111111111111111111-2222222222222222-00"
    events = [{**GOOD, "id": "t1"}, {**GOOD, "id": "t2", "metadata": {"traceparent": own, "k": 1}}]
    await post(http, orjson.dumps(events), traceparent=trace, tracestate="a=1,b=2")
    assert (await stored(http, "t1"))["metadata"] == {"traceparent": trace, "tracestate": "a=1,b=2"}
    assert (await stored(http, "t2"))["metadata"] == {"traceparent": own, "k": 1}
    await post(http, orjson.dumps({**GOOD, "id": "t3"}), traceparent="00-zz-1-01")
    assert "metadata" not in await stored(http, "t3")


def nested(depth: int) -> bytes:
    return b'{"type":"a","payload":' + b'{"x":' * depth + b"1" + b"}" * depth + b"}"


BAD_EVENTS: list[tuple[bytes, int, str]] = [
    (b"", 400, "body"),
    (b"{", 400, "body"),
    (b"nonsense", 400, "body"),
    (b'{"type":"a","payload":{"x":NaN}}', 400, "body"),
    (b'{"type":"a","payload":{"x":1e999}}', 400, "body"),
    (b'{"type":"a","payload":{"x":99999999999999999999999}}', 400, "body"),
    (b'{"type":"\xff\xfe"}', 400, "body"),
    (b'{"type":"a","payload":{"x":"\\ud800"}}', 400, "body"),
    (b'"text"', 400, "event"),
    (b"null", 400, "event"),
    (b"{}", 400, "type"),
    (b'{"type":7}', 400, "type"),
    (b'{"type":""}', 400, "type"),
    (b'{"type":"a..b"}', 400, "type"),
    (b'{"type":"a.*"}', 400, "type"),
    (b'{"type":"a.>"}', 400, "type"),
    (b'{"type":"a b"}', 400, "type"),
    (b'{"type":"a","colour":"red"}', 400, "colour"),
    (b'{"type":"a","priority":10}', 400, "priority"),
    (b'{"type":"a","priority":-1}', 400, "priority"),
    (b'{"type":"a","priority":"5"}', 400, "priority"),
    (b'{"type":"a","priority":true}', 400, "priority"),
    (b'{"type":"a","priority":5.0}', 400, "priority"),
    (b'{"type":"a","payload":[]}', 400, "payload"),
    (b'{"type":"a","metadata":"x"}', 400, "metadata"),
    (b'{"type":"a","id":""}', 400, "id"),
    (b'{"type":"a","id":"\\u0000"}', 400, "id"),
    (b'{"type":"a","correlation_id":7}', 400, "correlation_id"),
    (b'{"type":"a","timestamp":"yesterday"}', 400, "timestamp"),
    (b'{"type":"a","timestamp":"2013-01-01T05:15:00"}', 400, "timestamp"),
    (nested(33), 400, "payload"),
    (nested(5000), 400, "body"),
    (orjson.dumps({"type": "a", "payload": {"x": "y" * MAX_EVENT_BYTES}}), 413, "event"),
]


async def test_a_bad_event_is_refused_by_the_name_of_what_is_wrong(http: Http) -> None:
    for body, status, field in BAD_EVENTS:
        async with http.post("/v1/events", data=body, headers=JSON) as response:
            assert response.headers["content-type"] == "application/problem+json"
            problem = await response.json(content_type=None)
        assert (response.status, problem["status"], problem["field"]) == (status, status, field), problem
        assert (await post(http, orjson.dumps(GOOD)))[0] == 202


BAD_REQUESTS: list[tuple[str, dict[str, str], int, str]] = [
    ("/v1/events?colour=red", JSON, 400, "colour"),
    ("/v1/events?ack=perhaps", JSON, 400, "ack"),
    ("/v1/events?ack=accepted&ack=stored", JSON, 400, "ack"),
    ("/v1/events?ack=%ff", JSON, 400, "query"),
    ("/v1/events", {"content-type": "application/xml"}, 415, "content-type"),
    ("/v1/events", {"content-type": "application/cloudevents+avro"}, 415, "content-type"),
    ("/v1/events", {"content-type": "application/json; charset=latin-1"}, 415, "content-type"),
    ("/v1/events", {**JSON, "content-encoding": "gzip"}, 415, "content-encoding"),
]


async def test_a_request_that_is_not_understood_is_refused(node: Served, http: Http) -> None:
    for path, headers, status, field in BAD_REQUESTS:
        url = URL(node.url + path, encoded=True)
        async with http.post(url, data=orjson.dumps(GOOD), headers=headers) as response:
            problem = await response.json(content_type=None)
        assert (response.status, problem["field"]) == (status, field), problem


@pytest.fixture
async def tight() -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        embedded() as node,
        served(node.engine, node.management, max_body_bytes=4096, max_bodies_bytes=5000, max_batch=3) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        yield http


async def test_sizes_are_bounded_while_reading(tight: Http) -> None:
    status, problem = await post(tight, b" " * 5000)
    assert (status, problem["field"]) == (413, "body")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with tight.post("/v1/events", data=chunks(), headers=JSON) as response:
        assert response.status == 413
    for body, content_type in (
        (orjson.dumps([GOOD] * 4), "application/json"),
        (b"\n".join([orjson.dumps(GOOD)] * 4), "application/x-ndjson"),
    ):
        status, problem = await post(tight, body, content_type)
        assert (status, problem["field"]) == (413, "body")
    # What was refused or answered is not held any more.
    for _ in range(30):
        assert (await post(tight, orjson.dumps([GOOD] * 3)))[0] == 200


class Refusing:
    """An engine that takes nothing: refuses each event, or fails."""

    def __init__(self, node: Node, error: Exception) -> None:
        self.node = node
        self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    async def publish(
        self, objects: Sequence[object], *, ack: str = "accepted", permit: Permit | None = None
    ) -> list[Published | EventRouterError]:
        if isinstance(self.error, EventRouterError):
            return [self.error for _ in objects]
        raise self.error

    def begin_publish(
        self, objects: Sequence[object], done: Callable[[Results | EventRouterError], None], _: Permit | None = None
    ) -> None:
        if not isinstance(self.error, EventRouterError):
            raise self.error
        done([self.error for _ in objects])


@asynccontextmanager
async def refusing(error: Exception) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        embedded() as node,
        served(Refusing(node, error), node.management) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        yield http


async def test_overload_says_when_to_come_back() -> None:
    async with refusing(Overloaded("too much", retry_after_s=2.5)) as http:
        async with http.post("/v1/events", json=GOOD) as response:
            problem = await response.json(content_type=None)
        assert (response.status, response.headers["retry-after"]) == (429, "3")
        assert (problem["code"], problem["retry_after_s"]) == ("overloaded", 2.5)
        status, body = await post(http, orjson.dumps([GOOD]))
        assert (status, body["results"][0]["error"]["code"]) == (200, "overloaded")


async def test_a_fault_of_the_node_is_answered_with_an_id_and_no_details(capsys: pytest.CaptureFixture[str]) -> None:
    async with refusing(RuntimeError("the secret of the engine")) as http:
        async with http.post("/v1/events", json=GOOD) as response:
            text = await response.text()
        assert response.status == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert "secret" not in text
        assert "Traceback" not in text
        fault = orjson.loads(text)["detail"].split()[-1]
        assert fault in capsys.readouterr().out
        async with http.get("/healthz") as response:
            assert response.status == 200


async def test_a_body_that_never_comes_is_given_up() -> None:
    async with embedded() as node, served(node.engine, node.management, body_timeout_s=0.1) as slow:
        reader, writer = await asyncio.open_connection("127.0.0.1", slow.port)
        writer.write(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        answer = await asyncio.wait_for(reader.read(100), 5)
        writer.close()
        assert b" 408 " in answer
