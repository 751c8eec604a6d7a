"""A credential that is over, or allows less than it did, ends what it holds open within two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from router_node.security.policy import Policy
from tests.edges.guarded import BILLING, Guarded, guarded

SOON_S = 2.0
NARROWER = Policy(name="billing", publish=("billing.>",), subscribe=("billing.eu.>",))


@pytest.fixture
async def node() -> AsyncIterator[Guarded]:
    async with guarded() as each:
        yield each


async def test_an_idle_connection_is_closed(node: Guarded) -> None:
    async with node.server.link(token="billing") as link:
        assert (await link.ask(op="subscribe", ref=1, name="s", topics=["billing.>"]))["op"] == "subscribed"
        node.keys.revoke("billing")
        async with asyncio.timeout(SOON_S):
            assert (await link.next())["error"]["code"] == "unauthenticated"
            with pytest.raises(ConnectionClosed) as closed:
                await link.next()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_the_next_frame_is_refused_at_once(node: Guarded) -> None:
    frames: list[dict[str, Any]] = [
        {"op": "publish", "events": [{"type": "billing.paid", "id": "late"}]},
        {"op": "ping"},
    ]
    for frame in frames:
        node.keys.give("billing", BILLING)
        async with node.server.link(token="billing") as link:
            node.keys.revoke("billing")
            assert (await link.ask(**frame, ref=1))["error"]["code"] == "unauthenticated"
            with pytest.raises(ConnectionClosed) as closed:
                await link.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401

    assert (await node.ask("admin", "GET", "/v1/events?type=billing.paid"))[1]["events"] == []


async def test_deliveries_under_way_go_to_another(node: Guarded) -> None:
    await node.put("mine", "billing.>")
    async with node.server.link(token="billing") as link:
        await link.ask(op="subscribe", ref=1, name="mine", topics=["billing.>"])
        await node.publish("billing.paid", "e1")
        await link.deliveries(1)
        node.keys.revoke("billing")
        _, pulled = await node.ask("admin", "POST", "/v1/subscriptions/mine/pull", {"wait_s": 5})

    assert [each["event"]["id"] for each in pulled["deliveries"]] == ["e1"]


async def test_a_stream_ends_and_says_why(node: Guarded) -> None:
    headers = {"authorization": "Bearer billing"}
    async with node.http.get("/v1/stream?topic=billing.>", headers=headers) as stream:
        assert stream.status == 200
        node.keys.revoke("billing")
        async with asyncio.timeout(SOON_S):
            text = await stream.text()

    assert "event: error" in text
    assert "unauthenticated" in text


async def test_a_waiting_pull_ends(node: Guarded) -> None:
    await node.put("mine", "billing.>")
    async with asyncio.timeout(SOON_S + 1):
        pull = asyncio.create_task(node.ask("billing", "POST", "/v1/subscriptions/mine/pull", {"wait_s": 20}))
        while not node.server.app.connections:
            await asyncio.sleep(0)
        node.keys.revoke("billing")
        status, answer = await pull

    assert (status, answer["code"]) == (401, "unauthenticated")


async def test_a_policy_that_allows_less_ends_what_is_open_and_no_more(node: Guarded) -> None:
    async with node.server.link(token="billing") as link:
        await link.ask(op="subscribe", ref=1, name="wide", topics=["billing.>"])
        await link.ask(op="subscribe", ref=2, name="narrow", topics=["billing.eu.>"])
        node.keys.give("billing", NARROWER)
        async with asyncio.timeout(SOON_S):
            ended = await link.next()
        assert (ended["name"], ended["error"]["code"]) == ("wide", "forbidden")
        assert (await link.ask(op="ping", ref=3))["op"] == "pong"

        await node.publish("billing.paid", "e1")
        await node.publish("billing.eu.paid", "e2")
        (delivery,) = await link.deliveries(1)
        assert delivery["event"]["id"] == "e2"


async def test_a_subscription_that_grows_beyond_its_consumer_is_taken_from_it(node: Guarded) -> None:
    async with node.server.link(token="billing") as link:
        await link.ask(op="subscribe", ref=1, name="mine", topics=["billing.>"])
        await node.put("mine", "billing.>", "shop.>")
        async with asyncio.timeout(SOON_S):
            ended = await link.next()

    assert (ended["name"], ended["error"]["code"]) == ("mine", "forbidden")


async def test_a_stream_and_a_pull_end_with_what_they_were_allowed(node: Guarded) -> None:
    await node.put("mine", "billing.>")
    headers = {"authorization": "Bearer billing"}
    async with node.http.get("/v1/stream?topic=billing.>", headers=headers) as stream:
        pull = asyncio.create_task(node.ask("billing", "POST", "/v1/subscriptions/mine/pull", {"wait_s": 20}))
        while len(node.server.app.connections) < 2:
            await asyncio.sleep(0)
        node.keys.give("billing", NARROWER)
        async with asyncio.timeout(SOON_S):
            assert "forbidden" in await stream.text()
            assert (await pull)[0] == 403
