"""Who made a subscription, and how many one may make, over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from router_node.edges.security import Security
from router_node.node import Node, embedded
from router_node.security.policy import Policy
from stores.errors import StoreError
from tests.edges.guarded import BILLING, Guarded, guarded
from tests.edges.served import served
from tests.support.gate import KeyRing

BODY = {"topics": ["billing.>"]}


@pytest.fixture
async def node() -> AsyncIterator[Guarded]:
    async with guarded() as each:
        each.keys.give("billing", BILLING, subscriptions=2)
        yield each


async def test_who_makes_a_subscription_owns_it_whoever_changes_it(node: Guarded) -> None:
    status, made = await node.ask("billing", "PUT", "/v1/subscriptions/late", BODY)
    assert (status, made["owner"]) == (201, "key:billing")

    status, changed = await node.ask("admin", "PUT", "/v1/subscriptions/late", {**BODY, "max_in_flight": 7})
    assert (status, changed["owner"], changed["max_in_flight"]) == (200, "key:billing", 7)
    _, paused = await node.ask("admin", "POST", "/v1/subscriptions/late/pause", {})
    assert paused["owner"] == "key:billing"

    _, shown = await node.ask("observer", "GET", "/v1/subscriptions/late")
    assert shown["owner"] == "key:billing"
    _, listed = await node.ask("billing", "GET", "/v1/subscriptions")
    assert [each["owner"] for each in listed["subscriptions"]] == ["key:billing"]
    assert (await node.ask("stranger", "GET", "/v1/subscriptions/late"))[0] == 404


@pytest.mark.parametrize("token", ["billing", "admin"])
async def test_an_owner_cannot_be_given(node: Guarded, token: str) -> None:
    status, refused = await node.ask(token, "PUT", "/v1/subscriptions/late", {**BODY, "owner": "key:stranger"})
    assert (status, refused["field"]) == (400, "owner")
    async with node.server.link(token=token) as link:
        answer = await link.ask(op="subscribe", ref=1, name="late", owner="key:stranger", credit=1, **BODY)
        assert (answer["op"], answer["error"]["field"]) == ("error", "owner")


async def test_one_beyond_the_quota_is_refused_by_put_and_by_subscribe_until_one_is_deleted(node: Guarded) -> None:
    async with node.server.link(token="billing") as link:
        assert (await node.ask("billing", "PUT", "/v1/subscriptions/one", BODY))[0] == 201
        answer = await link.ask(op="subscribe", ref=1, name="two", credit=1, **BODY)
        assert answer["op"] == "subscribed"

        status, refused = await node.ask("billing", "PUT", "/v1/subscriptions/three", BODY)
        assert (status, refused["code"], refused["field"]) == (403, "quota_reached", "name")
        assert "key:billing has made 2" in refused["detail"]
        assert "limits.subscriptions is 2" in refused["detail"]
        answer = await link.ask(op="subscribe", ref=2, name="three", credit=1, **BODY)
        assert answer["error"]["code"] == "quota_reached"
        assert (await node.ask("admin", "GET", "/v1/subscriptions/three"))[0] == 404

        assert (await node.ask("billing", "PUT", "/v1/subscriptions/one", {**BODY, "max_in_flight": 3}))[0] == 200
        answer = await link.ask(op="subscribe", ref=3, name="one", credit=1, **BODY)
        assert answer["op"] == "subscribed", "what is there is no new one"
        answer = await link.ask(op="subscribe", ref=4, name="live", durable=False, credit=1, **BODY)
        assert answer["op"] == "subscribed", "an ephemeral one is not counted"

        assert (await node.ask("admin", "DELETE", "/v1/subscriptions/two"))[0] == 204
        assert (await node.ask("billing", "PUT", "/v1/subscriptions/three", BODY))[0] == 201


async def test_each_principal_has_its_own_quota_and_who_has_none_makes_any_number(node: Guarded) -> None:
    for name in ("a", "b", "c"):
        await node.put(name, "billing.>")
    for name in ("d", "e"):
        assert (await node.ask("billing", "PUT", f"/v1/subscriptions/{name}", BODY))[0] == 201
    assert (await node.ask("billing", "PUT", "/v1/subscriptions/f", BODY))[0] == 403


async def test_of_many_made_at_once_no_more_go_in_and_the_same_one_twice_is_one(node: Guarded) -> None:
    names = ["one", "one", "two", "two", "three", "four", "five"]
    answers = await asyncio.gather(*(node.ask("billing", "PUT", f"/v1/subscriptions/{name}", BODY) for name in names))
    assert sorted(status for status, _ in answers) == [200, 200, 201, 201, 403, 403, 403]


async def test_a_lowered_quota_takes_nothing_away(node: Guarded) -> None:
    for name in ("one", "two"):
        await node.ask("billing", "PUT", f"/v1/subscriptions/{name}", BODY)
    node.keys.give("billing", BILLING, subscriptions=1)

    assert (await node.ask("billing", "PUT", "/v1/subscriptions/two", {**BODY, "max_in_flight": 3}))[0] == 200
    _, refused = await node.ask("billing", "PUT", "/v1/subscriptions/three", BODY)
    assert "has made 2" in refused["detail"]


async def test_what_could_not_be_stored_is_not_counted(node: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = node.server.engine
    assert isinstance(engine, Node)

    async def away(*_: object) -> bool:
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(engine.management._database.subscriptions, "put", away)
        assert (await node.ask("billing", "PUT", "/v1/subscriptions/one", BODY))[0] == 503
    assert engine.pipeline.registry.owners.made_by("key:billing") == 0


async def test_owners_outlive_a_restart_and_those_made_without_security_have_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    keys = KeyRing()
    keys.give("one", Policy(name="all", subscribe=(">",)), subscriptions=1)
    headers = {"authorization": "Bearer one"}
    async with embedded(url) as node:
        _, plain = await node.management.put_subscription("plain", {"topics": ["a.>"]})
        assert plain["owner"] is None
        stored = await node.management._database.subscriptions.get("plain")
        assert stored is not None
        assert "owner" not in stored
        async with (
            served(node.engine, node.management, security=Security(gate=keys)) as server,
            aiohttp.ClientSession(server.url, headers=headers) as http,
            http.put("/v1/subscriptions/owned", json={"topics": ["a.>"]}) as made,
        ):
            assert made.status == 201
    async with (
        embedded(url) as node,
        served(node.engine, node.management, security=Security(gate=keys)) as server,
        aiohttp.ClientSession(server.url, headers=headers) as http,
    ):
        async with http.get("/v1/subscriptions") as listed:
            found = {each["name"]: each["owner"] for each in (await listed.json())["subscriptions"]}
        assert found == {"owned": "key:one", "plain": None}
        async with http.put("/v1/subscriptions/plain", json={"topics": ["b.>"]}) as changed:
            assert (changed.status, (await changed.json())["owner"]) == (200, None)
        async with http.put("/v1/subscriptions/more", json={"topics": ["a.>"]}) as refused:
            assert refused.status == 403
