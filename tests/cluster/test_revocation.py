"""A revoked key is refused by every node within two seconds, whichever way the news of it has to take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
from redis.asyncio import Redis

from router_node.secured import make_key
from tests.support.fault_proxy import FaultProxy
from tests.support.node_process import NodeProcess

WITHIN_S = 2.0


class Pair:
    """Two nodes, of which the other's way to PostgreSQL leads through ``proxy``; and who may manage them."""

    def __init__(self, one: NodeProcess, other: NodeProcess, proxy: FaultProxy, admin: str) -> None:
        self.one = one
        self.other = other
        self.proxy = proxy
        self.admin = admin

    async def known(self, node: NodeProcess, key: str) -> int:
        """Return what a node answers to a key."""
        async with _session(key) as http, http.get(f"{node.url}/v1/auth/me") as answer:
            return answer.status

    async def until(self, node: NodeProcess, key: str, status: int, within_s: float) -> None:
        """Return when a node answers a key so; fails when it does not in time."""
        give_up_at = time.monotonic() + within_s
        while (found := await self.known(node, key)) != status:
            assert time.monotonic() < give_up_at, f"{found}, not {status}, after {within_s} s"
            await asyncio.sleep(0.02)

    async def made(self) -> dict[str, str]:
        """Make a key at one node, and wait until the other knows it."""
        async with (
            _session(self.admin) as http,
            http.post(f"{self.one.url}/v1/keys", json={"name": "doomed", "policies": ["reader"]}) as answer,
        ):
            assert answer.status == 201
            key: dict[str, str] = await answer.json()
        await self.until(self.other, key["key"], 200, 5)
        return key

    async def revoke(self, key: dict[str, str]) -> None:
        """Revoke a key at one node."""
        async with _session(self.admin) as http, http.delete(f"{self.one.url}/v1/keys/{key['id']}") as answer:
            assert answer.status == 200


def _session(key: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=WITHIN_S)
    )


@asynccontextmanager
async def pair(redis_url: str, database_url: str) -> AsyncIterator[Pair]:
    admin = (await make_key(database_url, {"name": "admin", "policies": ["admin"]}))["key"]
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with FaultProxy(parts.hostname, parts.port) as proxy:
        through = database_url.replace(f":{parts.port}/", f":{proxy.port}/")
        on = {"ER_SECURITY": "on", "ER_PARTITIONS": "8"}
        async with (
            NodeProcess(redis_url=redis_url, database_url=database_url, node_id="one", **on) as one,
            NodeProcess(redis_url=redis_url, database_url=through, node_id="other", **on) as other,
        ):
            yield Pair(one, other, proxy, admin)
            proxy.flow()


async def test_a_notice_tells_of_it_while_the_database_does_not_answer(redis_url: str, database_url: str) -> None:
    async with pair(redis_url, database_url) as nodes:
        key = await nodes.made()
        nodes.proxy.stall()

        await nodes.revoke(key)

        await nodes.until(nodes.other, key["key"], 401, WITHIN_S)
        assert await nodes.known(nodes.other, nodes.admin) == 200  # whoever else was known still is


async def test_the_database_tells_of_it_while_no_notice_comes_through(redis_url: str, database_url: str) -> None:
    async with pair(redis_url, database_url) as nodes, Redis.from_url(redis_url) as redis:
        key = await nodes.made()
        cut = asyncio.create_task(_cut_notices(redis))
        try:
            await nodes.revoke(key)
            await nodes.until(nodes.other, key["key"], 401, WITHIN_S)
        finally:
            cut.cancel()
            await asyncio.wait([cut])


async def _cut_notices(redis: Redis) -> None:
    """Kill every connection that listens, again and again."""
    while True:
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(0.005)
