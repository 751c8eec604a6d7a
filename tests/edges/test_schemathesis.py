"""Requests made up from the OpenAPI document, right ones and wrong ones, to a real node.

No answer is one of 5xx, and each is as described: status, media type, headers, body. The suite sends the same requests
every time; ``ER_API_EXAMPLES=500 python -m pytest tests/edges/test_schemathesis.py`` looks further. What
it has found stays in test_openapi.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from router_node.config import Settings
from router_node.edges.openapi import events, policies, subscriptions
from router_node.node import embedded
from tests.edges.described import DOCUMENT
from tests.edges.served import served
from tests.security.desk import ROOT

EXAMPLES = int(os.environ.get("ER_API_EXAMPLES", "40"))
pytestmark = pytest.mark.timeout(120 + EXAMPLES)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
LASTING = "/v1/stream"
SHOWN: dict[str, str] = {}
"""The headers with which the node is shown a key."""
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=LASTING)
SCHEMA.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "405", "409", "412", "413", "415"]


@schemathesis.serializer("application/x-ndjson")
def lines(_: object, value: object) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A node of its own, in a loop and a thread of its own: schemathesis waits for its answers."""
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[str] = []
    secured = Settings(security="on", database_url="sqlite:///:memory:")

    async def run() -> None:
        async with (
            embedded(settings=secured) as node,
            served(node.engine, node.management, security=node.security, max_wait_s=0.05) as server,
        ):
            key = await node.management.access.keys.create(ROOT, {"name": "root", "policies": ["admin"]})
            SHOWN["authorization"] = f"Bearer {key['key']}"
            found.append(server.url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()], name="node")
    thread.start()
    assert started.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    loop.close()
    assert not thread.is_alive()


@pytest.fixture
def peopled(url: str) -> str:
    """The node with something of what the examples are about, whatever requests before have made of it."""
    ask(url, "PUT", "/v1/subscriptions/billing", subscriptions.ASKED_FOR | {"filter": {}})
    for number in range(2):
        ask(url, "POST", "/v1/events?ack=stored", {**events.ORDER_7, "id": f"{events.EVENT_ID}-{number}"})
    ask(url, "POST", "/v1/events?ack=stored", {**events.ORDER_7, "id": events.EVENT_ID})
    pulled = ask(url, "POST", "/v1/subscriptions/billing/pull", {"max": 1, "wait_s": 0.05})
    ids = [each["delivery_id"] for each in pulled["deliveries"]]
    ask(url, "POST", "/v1/subscriptions/billing/settle", {"reject": ids})
    ask(url, "POST", "/v1/replays", {"subscription": "billing"})
    ask(url, "PUT", "/v1/policies/orders", policies.ORDERS)
    return url


def ask(url: str, method: str, path: str, body: object) -> Any:
    headers = {"content-type": "application/json", **SHOWN}
    request = Request(f"{url}{path}", json.dumps(body).encode(), headers, method=method)
    with urlopen(request, timeout=10) as response:
        return json.load(response)


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, derandomize=EXAMPLES <= 40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case, peopled: str) -> None:
    case.call_and_validate(base_url=peopled, checks=CHECKS, headers=SHOWN, timeout=10)
