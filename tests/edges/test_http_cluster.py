"""Nodes, partitions and growth over HTTP, of a cluster and of a node that is alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from router_node.node import embedded
from router_node.telemetry.rate import RATE_S, Rate
from tests.edges.served import Served, served
from tests.edges.small_cluster import SmallCluster
from tests.edges.test_http_subscriptions import LATE, Http, call, publish


@pytest.fixture
async def desk() -> SmallCluster:
    return SmallCluster()


@pytest.fixture
async def http(desk: SmallCluster) -> AsyncIterator[Http]:
    """An HTTP client of a node of ``desk``'s cluster."""
    async with embedded() as running:
        running.management.cluster = desk
        async with served(running.engine, running.management) as server, aiohttp.ClientSession(server.url) as session:
            yield session


async def owners(http: Http) -> list[str]:
    status, body = await call(http, "GET", "/v1/partitions")
    assert status == 200
    return [each["owner"] for each in body["partitions"]]


async def test_nodes_are_listed_and_shown(http: Http, desk: SmallCluster) -> None:
    status, listed = await call(http, "GET", "/v1/nodes")
    assert (status, [each["node"] for each in listed["nodes"]]) == (200, ["eu/1", "node-2", "node-3"])
    assert await call(http, "GET", "/v1/nodes/eu%2F1") == (200, listed["nodes"][0])
    status, problem = await call(http, "GET", "/v1/nodes/node-9")
    assert (status, problem["field"]) == (404, "id")


async def test_a_node_is_drained_and_goes_back_to_work(http: Http, desk: SmallCluster) -> None:
    assert await call(http, "POST", "/v1/nodes/eu%2F1/drain") == (202, None)
    assert (await call(http, "GET", "/v1/nodes/eu%2F1"))[1]["state"] == "draining"
    await call(http, "GET", "/v1/nodes")
    assert "eu/1" not in await owners(http)
    assert await call(http, "DELETE", "/v1/nodes/eu%2F1/drain") == (204, None)
    assert (await call(http, "GET", "/v1/nodes/eu%2F1"))[1]["state"] == "live"
    for method in ("POST", "DELETE"):
        assert (await call(http, method, "/v1/nodes/node-9/drain"))[0] == 404


async def test_partitions_are_listed_and_shown(http: Http) -> None:
    status, listed = await call(http, "GET", "/v1/partitions")
    assert (status, len(listed["partitions"]), listed["growth"]) == (200, 4, None)
    assert await call(http, "GET", "/v1/partitions/3") == (200, listed["partitions"][3])
    for number in ("4", "03", "-1", "x"):
        assert (await call(http, "GET", f"/v1/partitions/{number}"))[0] == 404


async def test_partitions_grow(http: Http, desk: SmallCluster) -> None:
    desk.held = True
    status, growth = await call(http, "POST", "/v1/partitions/grow", {"to": 8})
    assert (status, growth["from"], growth["to"]) == (202, 4, 8)
    assert await call(http, "POST", "/v1/partitions/grow", {"to": 8}) == (202, growth)
    assert (await call(http, "GET", "/v1/partitions"))[1]["growth"] == growth
    assert (await call(http, "POST", "/v1/partitions/grow", {"to": 16}))[0] == 409
    desk.held = False
    async with asyncio.timeout(10):
        while (await call(http, "GET", "/v1/partitions"))[1]["growth"]:
            pass
    assert len(await owners(http)) == 8


BAD_TARGETS: list[tuple[Any, str]] = [
    ({}, "to"),
    ({"to": 4}, "to"),
    ({"to": 0}, "to"),
    ({"to": 1025}, "to"),
    ({"to": 8.0}, "to"),
    ({"to": True}, "to"),
    ({"to": 8, "now": True}, "now"),
    ([8], "body"),
]


async def test_a_target_that_is_wrong_is_refused_by_name(http: Http) -> None:
    for body, field in BAD_TARGETS:
        status, problem = await call(http, "POST", "/v1/partitions/grow", body)
        assert (status, problem["field"]) == (400, field), body
    assert (await call(http, "POST", "/v1/partitions/rebalance", {"to": 8}))[0] == 400


async def test_an_act_needs_no_body_whatever_type_the_client_says_it_has(http: Http) -> None:
    for kind in ("application/octet-stream", "application/x-www-form-urlencoded"):
        async with http.post("/v1/partitions/rebalance", headers={"content-type": kind}) as response:
            assert response.status == 202
        async with http.post("/v1/partitions/rebalance", data=b"a=1", headers={"content-type": kind}) as response:
            assert response.status == 415


async def test_rebalancing_tells_how_many_move(http: Http, desk: SmallCluster) -> None:
    assert await call(http, "POST", "/v1/partitions/rebalance") == (202, {"moving": 0})
    desk.scatter()
    status, answer = await call(http, "POST", "/v1/partitions/rebalance")
    assert (status, answer["moving"] > 0) == (202, True)


async def test_an_embedded_node_is_a_cluster_of_one(node: Served) -> None:
    async with aiohttp.ClientSession(node.url) as http:
        (alone,) = (await call(http, "GET", "/v1/nodes"))[1]["nodes"]
        assert (alone["state"], alone["partitions"], alone["consumers"], alone["seen_s"]) == ("live", 8, 0, 0.0)
        assert set(alone) >= {"address", "version", "started_at", "unsettled", "load"}
        found = (await call(http, "GET", "/v1/partitions"))[1]
        assert {(each["owner"], each["placed"]) for each in found["partitions"]} == {(alone["node"], alone["node"])}
        assert [each["partition"] for each in found["partitions"]] == list(range(8))
        assert found["growth"] is None
        assert all(alone["started_at"][:10] <= each["since"][:10] for each in found["partitions"])
        for path in (f"/v1/nodes/{alone['node']}/drain", "/v1/partitions/grow"):
            status, problem = await call(http, "POST", path, {"to": 16} if "grow" in path else {})
            assert (status, "no cluster" in problem["detail"]) == (409, True)
        assert (await call(http, "DELETE", f"/v1/nodes/{alone['node']}/drain"))[0] == 204
        assert (await call(http, "POST", "/v1/nodes/other/drain"))[0] == 404
        assert await call(http, "POST", "/v1/partitions/rebalance") == (202, {"moving": 0})


async def test_what_an_embedded_node_has_spilled_is_counted(node: Served) -> None:
    async with aiohttp.ClientSession(node.url) as http:
        await call(http, "PUT", LATE, {"topics": ["flights.>"]})
        await publish(http, "e1", "e2", "e3")

        async def spilled() -> int:
            return sum(each["spilled"] for each in (await call(http, "GET", "/v1/partitions"))[1]["partitions"])

        async with asyncio.timeout(10):
            while await spilled() != 3:
                await asyncio.sleep(0.01)


def test_a_rate_is_the_mean_since_the_last_look_and_no_look_comes_too_soon() -> None:
    now = 100.0
    rate = Rate(lambda: now)
    assert rate.at(50) == 0.0
    now += 2 * RATE_S
    assert rate.at(50) == 25.0 / RATE_S
    now += RATE_S / 2
    assert rate.at(1050) == 25.0 / RATE_S
    now += RATE_S / 2
    assert rate.at(1050) == 1000.0 / RATE_S
