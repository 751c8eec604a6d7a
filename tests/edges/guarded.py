"""A node's edges behind a gate, with a few principals whose policies differ, and calls in their names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from router_node.edges.certificates import Proxies
from router_node.edges.security import Security
from router_node.node import embedded
from router_node.security.policy import Policy
from router_node.security.rates import Rates
from tests.edges.served import Served, served
from tests.support.gate import KeyRing

BILLING = Policy(
    name="billing",
    publish=("billing.>",),
    subscribe=("billing.>",),
    events=("billing.>",),
    dead_letters=("billing.>",),
)


class Guarded:
    """A served node; ``keys`` are who may come in: admin, observer, nobody (no policy), billing and stranger."""

    def __init__(self, server: Served, keys: KeyRing, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.keys = keys
        self.http = http

    async def ask(
        self, token: str | None, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """Make a call; returns its status and JSON."""
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        headers.setdefault("content-type", "application/json")
        data = None if body is None else orjson.dumps(body)
        async with self.http.request(method, path, data=data, headers=headers) as answer:
            text = await answer.read()
            return answer.status, orjson.loads(text) if text and "json" in answer.content_type else text

    async def put(self, name: str, *topics: str) -> None:
        """Make a subscription, as the admin."""
        status, answer = await self.ask("admin", "PUT", f"/v1/subscriptions/{name}", {"topics": topics})
        assert status in (200, 201), answer

    async def publish(self, kind: str, event_id: str, **members: Any) -> None:
        """Publish an event and have it stored, as the admin."""
        event = {"type": kind, "id": event_id, "payload": {}, **members}
        status, answer = await self.ask("admin", "POST", "/v1/events?ack=stored", event)
        assert status == 202, answer


@asynccontextmanager
async def guarded(proxies: Proxies | None = None, rates: Rates | None = None, **limits: Any) -> AsyncIterator[Guarded]:
    """Serve an embedded node behind a gate."""
    keys = KeyRing()
    keys.give("admin", "admin")
    keys.give("observer", "observer")
    keys.give("nobody")
    keys.give("billing", BILLING)
    keys.give("stranger", Policy(name="shop", publish=("shop.>",), subscribe=("shop.>",), events=("shop.>",)))
    security = Security(gate=keys, rates=rates or Rates(), proxies=proxies)
    async with (
        embedded() as node,
        served(node.engine, node.management, security=security, **limits) as server,
        aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        yield Guarded(server, keys, http)
