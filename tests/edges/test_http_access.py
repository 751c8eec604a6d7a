"""Keys, policies, the audit log and one's own rights over HTTP, behind the gate of a whole node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from router_node.config import Settings
from router_node.node import embedded
from tests.edges.served import served
from tests.security.desk import ROOT
from tests.support.signals import wait_for


class Keyed:
    """A served node whose security is on, and a session of who holds its first key."""

    def __init__(self, url: str, key: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.key = key
        self.http = http

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None) if answer.content_length else None

    async def made(self, name: str, *policies: str) -> dict[str, Any]:
        status, made = await self.ask("POST", "/v1/keys", {"name": name, "policies": list(policies)})
        assert status == 201, made
        assert isinstance(made, dict)
        return made


@pytest.fixture
async def node() -> AsyncIterator[Keyed]:
    settings = Settings(security="on", database_url="sqlite:///:memory:")
    async with (
        embedded(settings=settings) as running,
        served(running.engine, running.management, security=running.security) as server,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        first = await running.management.access.keys.create(ROOT, {"name": "first", "policies": ["admin"]})
        yield Keyed(server.url, first["key"], http)


async def test_the_life_of_a_key(node: Keyed) -> None:
    made = await node.made("till", "publisher")
    event = {"type": "orders.created", "payload": {}}
    assert (await node.ask("POST", "/v1/events", event, made["key"]))[0] == 202

    status, rotated = await node.ask("POST", f"/v1/keys/{made['id']}/rotate", {})
    assert status == 200
    assert (await node.ask("POST", "/v1/events", event, made["key"]))[0] == 401
    assert (await node.ask("POST", "/v1/events", event, rotated["key"]))[0] == 202

    status, revoked = await node.ask("DELETE", f"/v1/keys/{made['id']}")
    assert (status, revoked["state"]) == (200, "revoked")
    assert (await node.ask("POST", "/v1/events", event, rotated["key"]))[0] == 401
    assert (await node.ask("DELETE", "/v1/keys/0000000000000000"))[0] == 404


async def test_a_key_that_is_shown_is_kept_by_no_cache(node: Keyed) -> None:
    headers = {"Authorization": f"Bearer {node.key}"}
    async with node.http.post(f"{node.url}/v1/keys", json={"name": "a", "policies": []}, headers=headers) as answer:
        assert answer.headers["cache-control"] == "no-store"


async def test_keys_are_listed_page_by_page_without_their_secrets(node: Keyed) -> None:
    made = [await node.made(f"k{n}") for n in range(4)]
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        _, page = await node.ask("GET", f"/v1/keys?limit=2{cursor and '&cursor=' + cursor}")
        assert len(page["keys"]) <= 2
        found, cursor = found + page["keys"], page["next"]

    assert [each["id"] for each in found] == sorted(each["id"] for each in found)
    assert {each["id"] for each in made} < {each["id"] for each in found}
    assert not any({"key", "digest", "former_digest"} & each.keys() for each in found)


async def test_policies_are_made_changed_and_deleted(node: Keyed) -> None:
    body = {"publish": ["orders.>"], "members": ["cert:till-*"], "limits": {"publish_per_s": 10}}
    status, made = await node.ask("PUT", "/v1/policies/shop", body)
    assert (status, made["publish"], made["limits"]) == (201, ["orders.>"], {"publish_per_s": 10})
    assert (await node.ask("PUT", "/v1/policies/shop", {"publish": ["orders.eu.>"]}))[0] == 200
    assert (await node.ask("GET", "/v1/policies/shop"))[1]["publish"] == ["orders.eu.>"]
    _, listed = await node.ask("GET", "/v1/policies")
    assert [each["name"] for each in listed["policies"]] == sorted(
        ["admin", "observer", "operator", "publisher", "reader", "shop", "subscriber"]
    )

    key = await node.made("till", "shop")
    assert (await node.ask("DELETE", "/v1/policies/shop"))[0] == 409
    await node.ask("DELETE", f"/v1/keys/{key['id']}")
    assert (await node.ask("DELETE", "/v1/policies/shop"))[0] == 204
    assert (await node.ask("GET", "/v1/policies/shop"))[0] == 404
    assert (await node.ask("DELETE", "/v1/policies/admin"))[0] == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"publish": "a"}, "publish"),
        ({"publish": ["a..b"]}, "publish"),
        ({"manage": "all"}, "manage"),
        ({"members": ["alice"]}, "members"),
        ({"limits": {"publish_per_s": 0}}, "limits.publish_per_s"),
        ({"limits": {"publish_per_s": True}}, "limits.publish_per_s"),
        ({"limits": {"connections": 1.5}}, "limits.connections"),
        ({"limits": {"speed": 1}}, "limits.speed"),
        ({"deny": ["a"]}, "deny"),
    ],
)
async def test_a_bad_policy_is_refused_by_name(node: Keyed, body: dict[str, Any], field: str) -> None:
    status, problem = await node.ask("PUT", "/v1/policies/shop", body)
    assert (status, problem["field"]) == (400, field)


async def test_one_may_ask_what_one_may_do(node: Keyed) -> None:
    await node.ask("PUT", "/v1/policies/shop", {"publish": ["orders.>"], "limits": {"publish_per_s": 3}})
    key = (await node.made("till", "shop"))["key"]

    _, me = await node.ask("GET", "/v1/auth/me", key=key)
    assert (me["principal"], me["policies"], me["limits"]) == ("key:till", ["shop"], {"publish_per_s": 3})
    assert me["allows"]["publish"] == ["orders.>"]
    _, yes = await node.ask("GET", "/v1/auth/can-i?action=publish&topic=orders.created", key=key)
    assert (yes["allowed"], yes["by"]) == (True, ["shop"])
    _, no = await node.ask("GET", "/v1/auth/can-i?action=subscribe&topic=orders.>", key=key)
    assert (no["allowed"], no["by"], no["policies"]) == (False, [], ["shop"])
    assert (await node.ask("GET", "/v1/auth/can-i?action=publish&topic=a&principal=key:first", key=key))[0] == 403

    _, told = await node.ask("GET", "/v1/auth/can-i?action=publish&topic=orders.created&principal=key:till")
    assert (told["principal"], told["allowed"]) == ("key:till", True)
    for query, field in (
        ("action=fly&topic=a", "action"),
        ("action=publish&topic=a.>", "topic"),
        ("topic=a", "action"),
    ):
        status, problem = await node.ask("GET", f"/v1/auth/can-i?{query}")
        assert (status, problem["field"]) == (400, field)


async def test_what_is_done_is_in_the_audit_log_with_who_did_it(node: Keyed) -> None:
    other = (await node.made("other", "subscriber"))["key"]
    await node.ask("PUT", "/v1/subscriptions/late", {"topics": ["a.>"]})
    await node.ask("POST", "/v1/subscriptions/late/pause", {"reason": "lunch"})
    await node.ask("POST", "/v1/dead-letters/purge", {"ids": ["1"]})
    await node.ask("DELETE", "/v1/subscriptions/late", key=other)
    await node.ask("PUT", "/v1/policies/mine", {"publish": [">"]}, other)
    await node.ask("PUT", "/v1/subscriptions/bad", {"topics": 7})

    async def entries() -> list[dict[str, Any]]:
        return list((await node.ask("GET", "/v1/audit"))[1]["entries"])

    async def all_written() -> bool:
        return len(await entries()) == 7

    await wait_for(all_written, 10, "the audit log holds what was done")
    found = {(each["action"], each["object"], each["principal"], each["outcome"]) for each in await entries()}
    first, second = "key:first", "key:other"
    assert found >= {
        ("subscription.put", "late", first, "done"),
        ("subscription.pause", "late", first, "done"),
        ("dead_letters.purge", "", first, "done"),
        ("subscription.delete", "late", second, "done"),
        ("policy.put", "mine", second, "refused"),
    }
    assert {each["peer"] for each in await entries()} == {"127.0.0.1", ROOT.peer}
    _, page = await node.ask("GET", "/v1/audit?principal=key:other&limit=1")
    assert [each["action"] for each in page["entries"]] == ["policy.put"]
    assert page["next"]
