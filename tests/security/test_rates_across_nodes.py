"""One principal's rate over three real nodes: as much as it may, wherever it asks, and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson

from tests.security.secured_nodes import SecuredNodes, secured_nodes

RATE = 1000
WARM_S, MEASURED_S = 2.0, 5.0
BATCH = 10


async def test_a_rate_holds_over_the_whole_cluster(redis_url: str, database_url: str, tmp_path: Path) -> None:
    async with secured_nodes(redis_url, database_url, tmp_path, 3) as nodes:
        await nodes.site.put("busy", publish=["billing.>"], limits={"publish_per_s": RATE})
        nodes.keys["busy"] = await nodes.site.made("busy", "busy")
        while 401 in await nodes.statuses(nodes.key("busy"), "POST", "/v1/events", data=b"[]"):
            await asyncio.sleep(0.05)

        await _accepted(nodes, WARM_S)  # takes the second's worth that an idle bucket holds
        accepted, refused = await _accepted(nodes, MEASURED_S)

    assert 950 <= accepted / MEASURED_S <= 1050, accepted / MEASURED_S
    assert refused > accepted / BATCH / 10  # it was asked for more than there was


async def _accepted(nodes: SecuredNodes, seconds: float) -> tuple[int, int]:
    """Publish at every node for so long, as fast as each answers; returns the events accepted, the requests refused."""
    accepted = refused = 0
    body = orjson.dumps([{"type": "billing.paid"}] * BATCH)
    headers = {"authorization": f"Bearer {nodes.key('busy')}", "content-type": "application/json"}
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def press(url: str) -> None:
        nonlocal accepted, refused
        while loop.time() < until:
            async with http.post(f"{url}/v1/events", data=body) as answer:
                if answer.status == 429:
                    assert (await answer.json(content_type=None))["code"] == "rate_limited"
                    assert answer.headers["retry-after"] == "1"
                    refused += 1
                    await asyncio.sleep(0.005)
                    continue
                results = (await answer.json())["results"]
            accepted += sum("id" in each for each in results)

    async with aiohttp.ClientSession(headers=headers) as http, asyncio.TaskGroup() as tasks:
        for node in nodes.nodes * 2:
            tasks.create_task(press(node.url))
    return accepted, refused
