"""A cluster that stores no events keeps every other promise, on the memory log and on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from router_client import EventRouterClient, InvalidInput, NotStored
from stores.open import open_database
from tests.router_client.served_node import served

pytestmark = pytest.mark.timeout(60)


class Site:
    """A node that stores nothing, over HTTP and for clients, and its database."""

    def __init__(self, address: str, database_url: str, http: aiohttp.ClientSession) -> None:
        self.address = address
        self.database_url = database_url
        self._http = http

    def client(self, scheme: str = "ws") -> EventRouterClient:
        return EventRouterClient(f"{scheme}://{self.address}")

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self._http.request(method, f"http://{self.address}{path}", json=body) as response:
            return response.status, await response.json(content_type=None)

    async def stored(self) -> int:
        database = await open_database(self.database_url)
        try:
            return await database.events.count()
        finally:
            await database.close()


@pytest.fixture(params=["memory", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    settings: dict[str, Any] = {"persist": "none", "database_url": f"sqlite:///{tmp_path}/er.sqlite"}
    if request.param == "redis":
        settings |= {
            "redis_url": request.getfixturevalue("redis_url"),
            "database_url": request.getfixturevalue("database_url"),
            "partitions": 4,
        }
    async with served(**settings) as address, aiohttp.ClientSession() as http:
        yield Site(address, settings["database_url"], http)


async def test_events_are_delivered_retried_and_dead_lettered_and_none_is_stored(site: Site) -> None:
    async with (
        site.client() as client,
        client.subscription("late").topics("a.>").retry(2, base_s=0.01, jitter=0).open() as deliveries,
    ):
        await client.publish_many([{"type": "a.b", "id": f"e{n}", "correlation_id": f"k{n}"} for n in range(20)])
        acked: set[str] = set()
        failed = 0
        async with asyncio.timeout(20):
            while len(acked) < 19 or failed < 2:
                delivery = await anext(deliveries)
                if delivery.event.id == "e7":
                    failed += 1
                    await delivery.nack()
                else:
                    acked.add(delivery.event.id)
                    await delivery.ack()
            while not (letters := (await site.ask("GET", "/v1/dead-letters"))[1]["dead_letters"]):
                await asyncio.sleep(0.01)

    assert acked == {f"e{n}" for n in range(20)} - {"e7"}
    assert [(each["event"]["id"], each["attempts"]) for each in letters] == [("e7", 2)]
    assert await site.stored() == 0


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_waiting_for_the_store_is_refused_and_publishes_nothing(site: Site, scheme: str) -> None:
    async with site.client(scheme) as client:
        with pytest.raises(InvalidInput) as refused:
            await client.publish("a.b", {}, id="e1", correlation_id="k", ack="stored")
        again = await client.publish("a.b", {}, id="e1", correlation_id="k")

    assert refused.value.field == "ack"
    assert "ER_PERSIST" in refused.value.detail
    assert not again.duplicate


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/events", None),
        ("GET", "/v1/events/e1", None),
        ("GET", "/v1/events/e1/trace", None),
        ("POST", "/v1/replays", {"subscription": "late"}),
        ("POST", "/v1/subscriptions/late/seek", {"to": "2026-01-01T00:00:00Z"}),
        ("POST", "/v1/filters/test", {"subscription": "late", "event_id": "e1"}),
    ],
)
async def test_what_needs_stored_events_says_that_there_are_none(
    site: Site, method: str, path: str, body: object
) -> None:
    await site.ask("PUT", "/v1/subscriptions/late", {"topics": ["a.>"]})
    status, problem = await site.ask(method, path, body)
    assert (status, problem["code"]) == (409, NotStored.code)
    assert 'persist = "all" (ER_PERSIST)' in problem["detail"]


async def test_what_is_kept_beside_events_is_there(site: Site) -> None:
    async with site.client() as client, client.subscription("late").topics("a.>").open() as deliveries:
        await client.publish("a.b", {}, id="e1")
        await (await anext(deliveries)).ack()
    async with asyncio.timeout(10):
        while not (logged := (await site.ask("GET", "/v1/deliveries?subscription=late"))[1]["deliveries"]):
            await asyncio.sleep(0.01)
    status, ready = await site.ask("GET", "/readyz")

    assert [each["event_id"] for each in logged] == ["e1"]
    assert [each["name"] for each in (await site.ask("GET", "/v1/subscriptions"))[1]["subscriptions"]] == ["late"]
    assert (await site.ask("GET", "/v1/replays"))[1] == {"replays": [], "next": None}
    assert status == 200
    assert "events are not stored" in ready["checks"]["persistence"]["detail"]
