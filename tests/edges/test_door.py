"""Who is let in, by what they show; and that nothing is open by oversight."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import trustme
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from router_node.edges.certificates import Proxies
from tests.edges.guarded import Guarded, guarded

OPEN_TO_ALL = {
    *("/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs", "/docs/docs.css", "/docs/docs.js"),
}


@pytest.fixture
async def node() -> AsyncIterator[Guarded]:
    async with guarded() as each:
        yield each


def _routes(node: Guarded) -> list[tuple[str, str]]:
    """Return every method and address that the node serves, the ids and names in them filled in."""
    return [
        (method, re.sub(r"\{.*?\}", lambda name: "0" if name[0] == "{number}" else "x", route.path))
        for route in node.server.app.routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]


async def test_every_address_but_those_open_to_all_needs_credentials(node: Guarded) -> None:
    routes = _routes(node)

    assert len(routes) > 30
    for method, path in routes:
        status, answer = await node.ask(None, method, path)
        if path in OPEN_TO_ALL:
            assert status == 200, path
        else:
            assert (status, answer["code"]) == (401, "unauthenticated"), (method, path)


async def test_who_has_no_policy_gets_nothing_anywhere(node: Guarded) -> None:
    await node.put("x", "billing.>")
    await node.publish("billing.paid", "x")
    bodies = {
        "/v1/events": {"type": "billing.paid"},
        "/v1/filters/test": {"filter": {}, "event_id": "x"},
        "/v1/replays": {"subscription": "x"},
        "/v1/subscriptions/x": {"topics": ["billing.>"]},
        "/v1/subscriptions/x/seek": {"to": "2026-01-01T00:00:00Z"},
        "/v1/subscriptions/x/settle": {"ack": []},
        "/v1/partitions/grow": {"to": 64},
        "/v1/dead-letters/replay": {"all": True},
        "/v1/dead-letters/purge": {"all": True},
    }
    queries = {"/v1/stream": "?topic=billing.paid", "/v1/auth/can-i": "?action=publish&topic=billing.paid"}
    harmless = {
        ("GET", "/v1/subscriptions"): "subscriptions",
        ("GET", "/v1/replays"): "replays",
        ("GET", "/v1/auth/me"): "policies",
        ("GET", "/v1/auth/can-i"): "by",
    }

    for method, path in _routes(node):
        if path in OPEN_TO_ALL:
            continue
        query = queries.get(path, "")
        status, answer = await node.ask("nobody", method, path + query, bodies.get(path) if method != "GET" else None)
        if (method, path) in harmless:
            assert (status, answer[harmless[method, path]]) == (200, []), path
        else:
            assert status in (403, 404), (method, path, status, answer)
            assert answer["code"] in ("forbidden", "not_found"), (method, path)


async def test_without_valid_credentials_it_is_said_how_to_show_some(node: Guarded) -> None:
    for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic YWRtaW46"}, {"authorization": ""}):
        async with node.http.get("/v1/nodes", headers=header) as answer:
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"


async def test_two_tokens_are_one_too_many(node: Guarded) -> None:
    async with node.http.get(
        "/v1/events", headers=[("authorization", "Bearer nobody"), ("authorization", "Bearer admin")]
    ) as answer:
        assert answer.status == 401


async def test_readyz_says_why_only_to_who_may_look_at_the_cluster(node: Guarded) -> None:
    for token in (None, "wrong", "billing"):
        assert await node.ask(token, "GET", "/readyz") == (200, {"status": "ready"})
    status, answer = await node.ask("observer", "GET", "/readyz")

    assert status == 200
    assert set(answer["checks"]) == {"transport", "persistence", "queue", "workers"}


async def test_an_upgrade_with_bad_credentials_is_refused(node: Guarded) -> None:
    url = node.server.url.replace("http", "ws") + "/v1/ws"

    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers={"authorization": "Bearer wrong"})

    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_may_come_with_the_upgrade_or_with_the_hello(node: Guarded) -> None:
    url = node.server.url.replace("http", "ws") + "/v1/ws"
    async with connect(url, additional_headers={"authorization": "Bearer billing"}) as connection:
        await connection.send('{"op":"hello","version":1}')
        assert '"welcome"' in str(await connection.recv())

    async with node.server.link(token="billing") as link:
        answer = await link.ask(op="publish", ref=1, events=[{"type": "billing.paid"}])
        assert "id" in answer["results"][0]


@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_a_hello_without_a_valid_token_closes_the_connection(node: Guarded, token: str | None) -> None:
    async with node.server.link(greet=False) as link:
        answer = await link.ask(op="hello", version=1, **({} if token is None else {"token": token}))
        assert answer["error"]["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed) as closed:
            await link.next()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_a_frame_before_the_hello_does_nothing(node: Guarded) -> None:
    async with node.server.link(greet=False) as link:
        answer = await link.ask(op="publish", events=[{"type": "billing.paid", "id": "early"}])
        assert answer["error"]["code"] == "invalid"

    assert (await node.ask("admin", "GET", "/v1/events?type=billing.paid"))[1]["events"] == []


def _pem(name: str) -> str:
    return trustme.CA().issue_cert(name, common_name=name).cert_chain_pems[0].bytes().decode()


async def test_a_certificate_in_a_header_counts_from_a_trusted_proxy_only() -> None:
    for header in (quote(_pem("billing")), f'Hash=0;Cert="{quote(_pem("billing"), safe="")}";Subject="CN=billing"'):
        event = {"type": "billing.paid"}
        async with guarded(Proxies("X-Forwarded-Client-Cert", ["127.0.0.0/8"])) as node:
            status, _ = await node.ask(None, "POST", "/v1/events", event, **{"x-forwarded-client-cert": header})
            assert status == 202

        async with guarded(Proxies("X-Forwarded-Client-Cert", ["10.0.0.0/8"])) as node:
            status, _ = await node.ask(None, "POST", "/v1/events", event, **{"x-forwarded-client-cert": header})
            assert status == 401
            assert node.server.app.connections.conduct.counts["certificates_ignored"] == 1

        async with guarded() as node:
            status, _ = await node.ask(None, "POST", "/v1/events", event, **{"x-forwarded-client-cert": header})
            assert status == 401


async def test_of_several_forwarded_certificates_the_last_is_the_one_the_own_proxy_saw() -> None:
    forged, seen = quote(_pem("admin"), safe=""), quote(_pem("nobody"), safe="")

    async with guarded(Proxies("x-forwarded-client-cert", ["127.0.0.1/32"])) as node:
        header = f'By=a;Cert="{forged}",By=b;Cert="{seen}"'
        status, answer = await node.ask(None, "GET", "/v1/nodes", **{"x-forwarded-client-cert": header})

    assert (status, answer["code"]) == (403, "forbidden")


async def test_a_certificate_that_cannot_be_read_is_refused() -> None:
    async with guarded(Proxies("x-client-cert", ["127.0.0.1/32"])) as node:
        for header in ("nonsense", "%00", "-----BEGIN CERTIFICATE-----", "x" * 40_000):
            status, answer = await node.ask(None, "GET", "/v1/nodes", **{"x-client-cert": header})
            assert (status, answer["field"]) == (401, "x-client-cert")


async def test_what_is_refused_is_counted_by_its_reason(node: Guarded) -> None:
    await node.ask("wrong", "GET", "/v1/nodes")
    await node.ask("billing", "GET", "/v1/nodes")

    counts = node.server.app.connections.conduct.counts
    assert (counts["unauthenticated"], counts["forbidden"]) == (1, 1)


async def test_a_publisher_is_heard_at_once_only_after_it_was_let_in_and_only_while_it_may(node: Guarded) -> None:
    """Usual publishes go past ASGI from the second on: with the same rights, and not with those of another."""
    event = {"type": "billing.paid"}
    for _ in range(3):
        assert (await node.ask("billing", "POST", "/v1/events", event))[0] == 202
        assert (await node.ask("billing", "POST", "/v1/events", {"type": "shop.sold"}))[0] == 403
        assert (await node.ask("stranger", "POST", "/v1/events", event))[0] == 403
        assert (await node.ask(None, "POST", "/v1/events", event))[0] == 401
        assert (await node.ask("billing2", "POST", "/v1/events", event))[0] == 401

    node.keys.give("billing", "observer")
    assert (await node.ask("billing", "POST", "/v1/events", event))[0] == 403
    node.keys.revoke("billing")
    for _ in range(2):
        assert (await node.ask("billing", "POST", "/v1/events", event))[0] == 401
    assert node.server.app.connections.conduct.counts["forbidden"] == 7


async def test_a_publisher_that_was_heard_at_once_is_held_to_its_rate(node: Guarded) -> None:
    node.keys.give("few", "publisher", publish_per_s=5)

    answers = [await node.ask("few", "POST", "/v1/events", {"type": "a.b"}) for _ in range(12)]

    assert [status for status, _ in answers[:5]] == [202] * 5
    assert answers[-1][0] == 429
    assert answers[-1][1]["code"] == "rate_limited"
