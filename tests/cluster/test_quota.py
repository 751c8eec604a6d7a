"""The quota of durable subscriptions over several nodes: what others made counts, and a race overshoots by few."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from router_node.secured import make_key
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

QUOTA = 5
BODY = {"topics": ["a.>"]}


async def _asked(key: str, method: str, url: str, body: object = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.request(method, url, json=body) as answer:
        return answer.status, await answer.json()


async def _with_a_quota(admin: str, one: NodeProcess, other: NodeProcess) -> str:
    """Return a key that may make a few subscriptions, once both nodes know it."""
    policy = {"subscribe": ["a.>"], "limits": {"subscriptions": QUOTA}}
    assert (await _asked(admin, "PUT", f"{one.url}/v1/policies/few", policy))[0] in (200, 201)
    _, made = await _asked(admin, "POST", f"{one.url}/v1/keys", {"name": "team", "policies": ["few"]})
    key: str = made["key"]

    async def known() -> bool:
        return (await _asked(key, "GET", f"{other.url}/v1/auth/me"))[0] == 200

    await wait_for(known, 5, "the other node knows the key")
    return key


async def test_what_other_nodes_made_counts_and_a_race_overshoots_by_less_than_there_are_nodes(
    redis_url: str, database_url: str
) -> None:
    admin = (await make_key(database_url, {"name": "admin", "policies": ["admin"]}))["key"]
    on = {"ER_SECURITY": "on", "ER_PARTITIONS": "8"}
    async with (
        NodeProcess(redis_url=redis_url, database_url=database_url, node_id="one", **on) as one,
        NodeProcess(redis_url=redis_url, database_url=database_url, node_id="other", **on) as other,
    ):
        team = await _with_a_quota(admin, one, other)
        for name in ("early", "earlier"):
            assert (await _asked(team, "PUT", f"{one.url}/v1/subscriptions/{name}", BODY))[0] == 201
        _, seen = await _asked(team, "GET", f"{other.url}/v1/subscriptions/early")
        assert seen["owner"] == "key:team"

        urls = [f"{node.url}/v1/subscriptions/s{n}-{node.port}" for n in range(10) for node in (one, other)]
        statuses = [status for status, _ in await asyncio.gather(*(_asked(team, "PUT", url, BODY) for url in urls))]
        assert set(statuses) == {201, 403}
        made = 2 + statuses.count(201)
        assert QUOTA <= made <= QUOTA + 1

        for node in (one, other):
            status, refused = await _asked(team, "PUT", f"{node.url}/v1/subscriptions/late", BODY)
            assert (status, refused["code"]) == (403, "quota_reached")
            assert f"has made {made} " in refused["detail"]
