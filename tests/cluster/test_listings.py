"""Listings and changes of subscriptions on two nodes: whole pages from any of them, and no change lost between them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.cluster.site import get, nodes
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(90)


async def test_pages_hold_what_lives_on_any_node_once(redis_url: str, database_url: str) -> None:
    async with nodes(redis_url, database_url, 2) as (one, two), aiohttp.ClientSession() as http:
        durable = [f"s{number}" for number in range(7)]
        for name in durable:
            assert await put(one, name, {"topics": ["a.>"]}) == 201
        async with http.ws_connect(f"{two.url}/v1/ws") as link:
            await link.send_json({"op": "hello", "version": 1})
            for name in ("s2", "s5"):
                await link.send_json({"op": "subscribe", "name": name, "topics": ["a.>"], "credit": 5})
            await link.send_json({"op": "subscribe", "name": "tail", "durable": False, "topics": ["a.>"]})

            async def told() -> bool:
                return [each["name"] for each in await walked(one)] == [*durable, "tail"]

            await wait_for(told, 10, "node one tells of the tail on node two")
            for node in (one, two):
                consumers = {each["name"]: each["consumers"] for each in await walked(node)}
                assert {name for name, count in consumers.items() if count} == {"s2", "s5", "tail"}
                assert (await get(node, "/v1/subscriptions/s5"))["consumers"] == 1
                assert (await get(node, "/v1/subscriptions/tail"))["durable"] is False


async def walked(node: NodeProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await get(node, f"/v1/subscriptions?limit=3{cursor}")
        found += page["subscriptions"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def put(node: NodeProcess, name: str, body: dict[str, Any], **headers: str) -> int:
    url = f"{node.url}/v1/subscriptions/{name}"
    async with aiohttp.ClientSession() as http, http.put(url, json=body, headers=headers) as response:
        return response.status


async def test_of_changes_made_on_two_nodes_at_once_to_one_revision_one_is_made(
    redis_url: str, database_url: str
) -> None:
    async with nodes(redis_url, database_url, 2) as (one, two):
        await put(one, "s", {"topics": ["a.>"]})
        for round_number in range(10):
            revision = (await get(two, "/v1/subscriptions/s"))["revision"]
            match = {"if-match": f'"{revision}"'}
            statuses = await asyncio.gather(
                put(one, "s", {"topics": ["a.>"], "max_in_flight": 10 + round_number}, **match),
                put(two, "s", {"topics": ["b.>"], "max_in_flight": 10 + round_number}, **match),
            )
            assert sorted(statuses) == [200, 412]
            topics = ["a.>"] if statuses[0] == 200 else ["b.>"]
            for node in (one, two):
                assert (await get(node, "/v1/subscriptions/s"))["topics"] == topics
