"""The OpenAPI document: it is valid, says everything and nothing else, and its examples are true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from router_client.errors import EventRouterError
from router_node.config import Settings
from router_node.edges import problems as raised
from router_node.edges.bodies import RequestTimeout
from router_node.edges.door import OPEN_TO_ALL
from router_node.edges.openapi.problems import PROBLEMS
from router_node.node import embedded
from tests.edges.described import DOCUMENT, Operation, bodies, examples, faults, operations, resolved
from tests.edges.served import Served, served
from tests.security.desk import ROOT

OPERATIONS = list(operations())
LASTING = "/v1/stream"


class Secured(NamedTuple):
    """A node, and a key of it that may do everything."""

    url: str
    key: str


@asynccontextmanager
async def _keyed(security: Literal["on", "off"]) -> AsyncIterator[Secured]:
    settings = Settings(security=security, database_url="sqlite:///:memory:")
    async with (
        embedded(settings=settings) as running,
        served(running.engine, running.management, security=running.security) as server,
    ):
        first = await running.management.access.keys.create(ROOT, {"name": "first", "policies": ["admin"]})
        yield Secured(server.url, first["key"])


@pytest.fixture
async def secured() -> AsyncIterator[Secured]:
    async with _keyed("on") as node:
        yield node


@pytest.fixture(params=["off", "on"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of a node whose security is off, and of one that has to be shown a key."""
    async with _keyed(request.param) as node:
        shown = {"authorization": f"Bearer {node.key}"} if request.param == "on" else {}
        async with aiohttp.ClientSession(node.url, headers=shown) as session:
            yield session


@pytest.fixture
async def known(secured: Secured) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of ``secured`` that shows its first key."""
    async with aiohttp.ClientSession(secured.url, headers={"authorization": f"Bearer {secured.key}"}) as session:
        yield session


def test_it_is_a_valid_document() -> None:
    validate(DOCUMENT)
    names = [each.said["operationId"] for each in OPERATIONS]
    assert len(names) == len(set(names))


async def test_every_method_of_every_address_is_described_and_nothing_else(node: Served, http: Any) -> None:
    offered = set()
    for route in node.app.routes:
        assert isinstance(route, Route)
        path = route.path.replace(":path}", "}")
        offered |= {(method.lower(), path) for method in route.methods or () if method != "HEAD"}
    assert {(each.method, each.path) for each in OPERATIONS} == offered

    async with http.get("/openapi.json") as response:
        assert orjson.loads(await response.read()) == orjson.loads(orjson.dumps(DOCUMENT))


def test_every_error_is_described() -> None:
    ours = ("router_client.errors", RequestTimeout.__module__, raised.__name__)
    classes = {each for each in _below(EventRouterError) if each.__module__ in ours}
    of_clients = {"connection_lost", "closed"}
    assert {each.code for each in classes} - of_clients == {each.example.code for each in PROBLEMS}
    for code, response in DOCUMENT["components"]["responses"].items():
        (media,) = response["content"].values()
        assert media["example"]["type"] == f"/docs#problem-{code}"
        assert faults(media["example"], media["schema"]) == []


def _below(base: type[EventRouterError]) -> Iterator[type[EventRouterError]]:
    for each in base.__subclasses__():
        yield each
        yield from _below(each)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_there_is_an_example_of_everything_and_it_is_valid(operation: Operation) -> None:
    for parameter in operation.said.get("parameters", []):
        assert faults(parameter["example"], parameter["schema"]) == [], parameter["name"]
    for media in operation.said.get("requestBody", {}).get("content", {}).values():
        assert list(examples(media))
    for _, schema, value in bodies(operation):
        assert faults(value, schema) == []
    for status, response in operation.said["responses"].items():
        said = resolved(response)
        for header in said.get("headers", {}).values():
            assert faults(header["example"], header["schema"]) == []
        if status == "204" or (status, operation.path) == ("202", "/v1/nodes/{id}/drain"):
            assert "content" not in said
            continue
        for media in said["content"].values():
            for value in examples(media):
                assert faults(value, media["schema"]) == [], status


class Story:
    """A node with one of everything, so that an example finds what it is about."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.ids: dict[str, str] = {}

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, str]:
        data = body.encode() if isinstance(body, str) else None if body is None else orjson.dumps(body)
        sent = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with self.http.request(method, path, data=data, headers=sent) as response:
            read = await response.read()
            kind = response.content_type
            return response.status, orjson.loads(read) if kind.endswith("json") and read else read.decode(), kind

    async def begin(self) -> None:
        await self.call("PUT", "/v1/subscriptions/billing", {"topics": ["orders.>"]})
        event = {"type": "orders.created", "id": "story", "payload": {"currency": "EUR"}}
        await self.call("POST", "/v1/events?ack=stored", event)
        pulled = await self.call("POST", "/v1/subscriptions/billing/pull", {"wait_s": 5})
        (delivery,) = pulled[1]["deliveries"]
        await self.call("POST", "/v1/subscriptions/billing/settle", {"reject": [delivery["delivery_id"]]})
        async with asyncio.timeout(10):
            while not (letters := (await self.call("GET", "/v1/dead-letters"))[1]["dead_letters"]):
                await asyncio.sleep(0.01)
            while not (await self.call("GET", "/v1/deliveries"))[1]["deliveries"]:
                await asyncio.sleep(0.01)
        more = [{"type": "orders.paid"} for _ in range(5)]
        await self.call("POST", "/v1/events?ack=stored", more)
        _, replay, _ = await self.call("POST", "/v1/replays", {"subscription": "billing", "rate": 0.1})
        _, nodes, _ = await self.call("GET", "/v1/nodes")
        await self.call("PUT", "/v1/policies/orders", {"publish": ["orders.>"]})
        _, key, _ = await self.call("POST", "/v1/keys", {"name": "till", "policies": ["publisher"]})
        self.ids = {
            "/v1/events/{id}": "story",
            "/v1/dead-letters/{id}": letters[0]["id"],
            "/v1/replays/{id}": replay["id"],
            "/v1/keys/{id}": key["id"],
            "/v1/nodes/{id}": nodes["nodes"][0]["node"],
        }

    def address(self, operation: Operation) -> str:
        """Return the operation's path and query, by its examples, but for ids that a node makes."""
        path, query = operation.path, []
        for parameter in operation.said.get("parameters", []):
            value = parameter["example"]
            if parameter["in"] == "path":
                real = next((each for start, each in self.ids.items() if operation.path.startswith(start)), str(value))
                path = path.replace(f"{{{parameter['name']}}}", quote(real, safe=""))
            elif parameter["in"] == "query" and parameter["name"] != "cursor":  # a cursor is a place in what is there
                values = value if isinstance(value, list) else [value]
                query += [f"{parameter['name']}={quote(str(each))}" for each in values]
        return f"{path}?{'&'.join(query)}" if query else path


# What an embedded node refuses by what it is, and what contradicts the story.
OTHERWISE = {
    "POST /v1/nodes/{id}/drain": 409,
    "POST /v1/partitions/grow": 409,
    "POST /v1/replays": 201,
}


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.path != LASTING], ids=lambda each: each.name)
async def test_the_example_of_a_request_is_answered_as_described(
    operation: Operation, either: aiohttp.ClientSession
) -> None:
    story = Story(either)
    await story.begin()
    for media_type, _, body in list(bodies(operation)) or [("application/json", None, None)]:
        status, answer, kind = await story.call(
            operation.method.upper(), story.address(operation), body, content_type=media_type
        )
        expected = OTHERWISE.get(operation.name)
        assert status == expected if expected else status < 300, answer
        said = resolved(operation.said["responses"][str(status)])
        if "content" not in said:
            assert answer == ""
            continue
        assert kind in said["content"]
        assert faults(answer, said["content"][kind]["schema"]) == []


async def test_who_shows_nothing_gets_only_what_is_said_to_be_open(secured: Secured) -> None:
    async with aiohttp.ClientSession(secured.url) as http:
        story = Story(http)
        for operation in OPERATIONS:
            status, answer, kind = await story.call(operation.method.upper(), story.address(operation))
            if operation.said.get("security") == []:
                assert status == 200, operation.name
                continue
            assert (status, kind) == (401, "application/problem+json"), operation.name
            assert faults(answer, DOCUMENT["components"]["schemas"]["Problem"]) == []
    assert {each.path for each in OPERATIONS if each.said.get("security") == []} == set(OPEN_TO_ALL)


async def test_whoever_may_do_nothing_is_answered_as_described(known: aiohttp.ClientSession, secured: Secured) -> None:
    story = Story(known)
    await story.begin()
    _, made, _ = await story.call("POST", "/v1/keys", {"name": "nobody", "policies": []})
    undescribed = []
    for operation in OPERATIONS:
        _, _, body = next(bodies(operation), (None, None, None))
        status, answer, _ = await story.call(
            operation.method.upper(), story.address(operation), body, authorization=f"Bearer {made['key']}"
        )
        if str(status) not in operation.said["responses"]:
            undescribed.append((operation.name, status))
        if status >= 400:
            assert faults(answer, DOCUMENT["components"]["schemas"]["Problem"]) == []
            assert status in (403, 404), (operation.name, answer)
    assert undescribed == []


async def test_who_asks_too_often_is_answered_as_described(known: aiohttp.ClientSession) -> None:
    story = Story(known)
    await story.call("PUT", "/v1/policies/slow", {"limits": {"requests_per_s": 0.1}})
    _, made, _ = await story.call("POST", "/v1/keys", {"name": "slow", "policies": ["slow"]})
    said = DOCUMENT["components"]["responses"]["rate_limited"]
    for _ in range(10):
        async with known.get("/v1/auth/me", headers={"authorization": f"Bearer {made['key']}"}) as response:
            answer = orjson.loads(await response.read())
            if response.status != 200:
                break
    assert (answer["status"], answer["code"]) == (429, "rate_limited")
    assert faults(int(response.headers["retry-after"]), said["headers"]["Retry-After"]["schema"]) == []
    assert faults(answer, said["content"]["application/problem+json"]["schema"]) == []


async def test_the_example_of_a_stream_opens_one(http: Any) -> None:
    (operation,) = [each for each in OPERATIONS if each.path == LASTING]
    async with http.get(Story(http).address(operation)) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert response.content_type in operation.said["responses"]["200"]["content"]
        assert (await response.content.readline()).startswith(b"retry:")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "field"),
    [
        ("GET", "/v1/nothing", None, {}, 404, None),
        ("GET", "/v2", None, {}, 404, None),
        ("PATCH", "/v1/events", None, {}, 405, None),
        # A number of a partition, and an id of a dead letter, that are words: found by schemathesis.
        ("GET", "/v1/partitions/grow", None, {}, 405, None),
        ("DELETE", "/v1/dead-letters/replay", None, {}, 405, None),
        ("POST", "/v1/events", "<xml/>", {"content-type": "text/xml"}, 415, "content-type"),
        ("POST", "/v1/events", "{}", {"content-encoding": "gzip"}, 415, "content-encoding"),
        ("POST", "/v1/replays", "{}", {"content-type": "text/xml"}, 415, "content-type"),
        ("POST", "/v1/replays", " " * 1_100_000 + "{}", {}, 413, "body"),
        ("POST", "/v1/replays", "{", {}, 400, "body"),
        ("GET", "/v1/events?nothing=1", None, {}, 400, "nothing"),
        ("GET", "/v1/events/none", None, {}, 404, "id"),
    ],
)
async def test_every_error_is_a_problem(
    http: Any, method: str, path: str, body: Any, headers: dict[str, str], status: int, field: str | None
) -> None:
    sent = {"content-type": "application/json", **headers}
    async with http.request(method, path, data=body, headers=sent) as response:
        problem = orjson.loads(await response.read())
        assert (response.status, response.content_type) == (status, "application/problem+json")
        if status == 405:
            assert response.headers["allow"]
    assert (problem["status"], problem.get("field")) == (status, field)
    assert faults(problem, DOCUMENT["components"]["schemas"]["Problem"]) == []
    # Its type leads to where it is explained.
    page, _, place = problem["type"].partition("#problem-")
    assert page == "/docs"
    assert place in DOCUMENT["components"]["responses"]
