"""What each principal may do, over HTTP and WebSocket, and what they are told of what they may not."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router_client.kept_form import publish_body
from router_node.edges import http_subscriptions
from tests.edges.guarded import Guarded, guarded

KEPT = (
    b'{"id":"kept-%d","type":"%s","priority":5,"timestamp":"2026-03-01T12:00:00Z","source":"","correlation_id":"c",'
    b'"payload":{}}'
)


@pytest.fixture
async def node() -> AsyncIterator[Guarded]:
    async with guarded() as each:
        yield each


async def test_an_event_that_may_not_be_published_costs_itself_only(node: Guarded) -> None:
    events = [{"type": "billing.paid"}, {"type": "shop.sold"}, {"type": "billing.due"}]

    status, answer = await node.ask("billing", "POST", "/v1/events", events)

    assert status == 200
    assert ["error" in each for each in answer["results"]] == [False, True, False]
    assert {"code": "forbidden", "field": "type"}.items() <= answer["results"][1]["error"].items()
    assert "shop.sold" in answer["results"][1]["error"]["detail"]


@pytest.mark.parametrize("kind", ["shop.sold", "billing", "billings.paid", "Billing.paid"])
async def test_no_form_of_publishing_gets_past_the_policy(node: Guarded, kind: str) -> None:
    kept = KEPT % (1, kind.encode())
    assert publish_body(kept) is not None
    forms: list[tuple[bytes, dict[str, str]]] = [
        (kept, {"content-type": "application/json"}),
        (b'{"type": "%s"}' % kind.encode(), {"content-type": "application/json"}),
        (
            b'{"specversion":"1.0","id":"1","source":"s","type":"%s","data":{}}' % kind.encode(),
            {"content-type": "application/cloudevents+json"},
        ),
        (b"{}", {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": kind}),
    ]
    for body, headers in forms:
        async with node.http.post("/v1/events", data=body, headers={"authorization": "Bearer billing", **headers}) as a:
            assert a.status == 403, (headers, await a.text())
            assert (await a.json(content_type=None))["field"] == "type"

    for body, kind_of in ((kept + b"\n", "application/x-ndjson"), (b"[" + kept + b"]", "application/json")):
        headers = {"authorization": "Bearer billing", "content-type": kind_of}
        async with node.http.post("/v1/events", data=body, headers=headers) as a:
            assert (await a.json())["results"][0]["error"]["code"] == "forbidden"


@pytest.mark.parametrize("ack", ["accepted", "stored"])
async def test_a_websocket_publishes_within_its_policy(node: Guarded, ack: str) -> None:
    async with node.server.link(token="billing") as link:
        events = [{"type": "shop.sold"}, {"type": "billing.paid"}]
        answer = await link.ask(op="publish", ref=1, ack=ack, events=events)
        assert answer["results"][0]["error"]["code"] == "forbidden"
        assert "id" in answer["results"][1]

        event = (KEPT % (2, b"shop.sold")).decode()
        await link.raw(f'{{"op":"publish","ref":2,"ack":"{ack}","events":[{event}]}}')
        assert (await link.next())["results"][0]["error"]["code"] == "forbidden"


async def test_a_target_takes_no_event_where_its_topic_does_not_go(node: Guarded) -> None:
    """A target narrows only: who may publish the topic may name one, and is not told whether it is there."""
    await node.put("shop-orders", "shop.>")

    events = [{"type": "billing.paid", "target": name} for name in ("shop-orders", "no-such")]
    _, answer = await node.ask("billing", "POST", "/v1/events", events)

    assert all("id" in each for each in answer["results"])
    _, pulled = await node.ask("admin", "POST", "/v1/subscriptions/shop-orders/pull", {})
    assert pulled["deliveries"] == []


async def test_an_event_larger_than_the_principal_may_publish(node: Guarded) -> None:
    node.keys.give("small", "publisher", event_bytes=500)

    events = [{"type": "a.b"}, {"type": "a.b", "payload": {"text": "x" * 600}}]
    _, answer = await node.ask("small", "POST", "/v1/events", events)

    assert "id" in answer["results"][0]
    assert answer["results"][1]["error"]["code"] == "too_large"


@pytest.mark.parametrize(
    ("topics", "allowed"),
    [
        (["billing.>"], True),
        (["billing.*", "billing.eu.>"], True),
        (["billing.paid", "shop.sold"], False),
        ([">"], False),
        (["*.paid"], False),
        (["billing"], False),
        (["*.>"], False),
    ],
)
async def test_a_subscription_lies_within_the_policy(node: Guarded, topics: list[str], allowed: bool) -> None:
    status, answer = await node.ask("billing", "PUT", "/v1/subscriptions/mine", {"topics": topics})
    assert (status == 201) is allowed, answer
    if not allowed:
        assert (status, answer["code"]) == (403, "forbidden")
        assert answer["field"].startswith("topics[")

    async with node.server.link(token="billing") as link:
        for durable in (True, False):
            opened = await link.ask(op="subscribe", ref=1, name=f"ws-{durable}", topics=topics, durable=durable)
            assert (opened["op"] == "subscribed") is allowed, opened

    path = "/v1/stream?" + "&".join(f"topic={topic}" for topic in topics)
    async with node.http.get(path, headers={"authorization": "Bearer billing"}) as stream:
        assert stream.status == (200 if allowed else 403)


async def test_anothers_subscription_is_as_good_as_not_there(node: Guarded) -> None:
    await node.put("theirs", "shop.>")

    def calls(name: str) -> list[tuple[str, str, Any]]:
        return [
            ("GET", f"/v1/subscriptions/{name}", None),
            ("DELETE", f"/v1/subscriptions/{name}", None),
            ("DELETE", f"/v1/subscriptions/{name}?backlog=discard", None),
            ("POST", f"/v1/subscriptions/{name}/pull", {}),
            ("POST", f"/v1/subscriptions/{name}/settle", {"ack": ["1"]}),
            ("POST", f"/v1/subscriptions/{name}/pause", {}),
            ("POST", f"/v1/subscriptions/{name}/resume", {}),
            ("POST", f"/v1/subscriptions/{name}/seek", {"to": "2026-01-01T00:00:00Z"}),
            ("POST", "/v1/replays", {"subscription": name, "type": "billing.>"}),
            ("POST", "/v1/filters/test", {"subscription": name, "event": {"type": "shop.sold"}}),
            ("GET", f"/v1/deliveries?subscription={name}", None),
        ]

    for known, unknown in zip(calls("theirs"), calls("absent"), strict=True):
        hidden, missing = await node.ask("billing", *known), await node.ask("billing", *unknown)
        assert hidden[0] == missing[0] == 404, (known, hidden, missing)
        assert str(hidden).replace("theirs", "absent") == str(missing)

    assert (await node.ask("billing", "GET", "/v1/subscriptions"))[1] == {"subscriptions": [], "next": None}
    assert (await node.ask("admin", "GET", "/v1/subscriptions/theirs"))[0] == 200


async def test_anothers_subscription_cannot_be_taken_over_by_its_name(node: Guarded) -> None:
    await node.put("theirs", "shop.>")

    status, answer = await node.ask("billing", "PUT", "/v1/subscriptions/theirs", {"topics": ["billing.>"]})
    assert (status, answer["code"], answer["field"]) == (403, "forbidden", "name")

    async with node.server.link(token="billing") as link:
        for durable in (True, False):
            opened = await link.ask(op="subscribe", ref=1, name="theirs", topics=["billing.>"], durable=durable)
            assert opened["error"]["code"] == "forbidden"
    assert (await node.ask("admin", "GET", "/v1/subscriptions/theirs"))[1]["topics"] == ["shop.>"]


async def test_ones_own_subscription_is_consumed_and_settled(node: Guarded) -> None:
    await node.put("mine", "billing.>")
    await node.publish("billing.paid", "e1")

    _, pulled = await node.ask("billing", "POST", "/v1/subscriptions/mine/pull", {"wait_s": 5})
    (delivery,) = pulled["deliveries"]
    settled = await node.ask("billing", "POST", "/v1/subscriptions/mine/settle", {"ack": [delivery["delivery_id"]]})
    assert settled == (200, {"unknown": []})
    assert (await node.ask("billing", "GET", "/v1/subscriptions/mine"))[0] == 200
    assert (await node.ask("billing", "POST", "/v1/subscriptions/mine/pause", {}))[0] == 200
    assert (await node.ask("billing", "POST", "/v1/subscriptions/mine/resume", {}))[0] == 200
    assert (await node.ask("billing", "DELETE", "/v1/subscriptions/mine"))[0] == 204


async def test_an_observer_looks_at_subscriptions_and_changes_none(node: Guarded) -> None:
    await node.put("theirs", "shop.>")

    assert len((await node.ask("observer", "GET", "/v1/subscriptions"))[1]["subscriptions"]) == 1
    assert (await node.ask("observer", "GET", "/v1/subscriptions/theirs"))[0] == 200
    assert (await node.ask("observer", "POST", "/v1/subscriptions/theirs/pause", {}))[0] == 404
    assert (await node.ask("observer", "POST", "/v1/subscriptions/theirs/pull", {}))[0] == 404


async def test_stored_events_are_read_within_the_policy(node: Guarded) -> None:
    await node.publish("billing.paid", "b1", correlation_id="order-1")
    await node.publish("shop.sold", "s1", correlation_id="order-1")

    assert (await node.ask("billing", "GET", "/v1/events"))[0] == 403
    assert (await node.ask("billing", "GET", "/v1/events?correlation_id=order-1"))[0] == 403
    assert (await node.ask("billing", "GET", "/v1/events?type=*.paid"))[0] == 403
    _, page = await node.ask("billing", "GET", "/v1/events?type=billing.>")
    assert [each["id"] for each in page["events"]] == ["b1"]
    assert (await node.ask("billing", "GET", "/v1/events/b1"))[0] == 200
    assert (await node.ask("billing", "GET", "/v1/events/b1/deliveries"))[0] == 200
    assert (await node.ask("billing", "GET", "/v1/deliveries?event=b1"))[0] == 200
    assert (await node.ask("billing", "GET", "/v1/deliveries"))[0] == 403
    _, trace = await node.ask("billing", "GET", "/v1/events/b1/trace")
    assert [each["id"] for each in trace["correlation"]] == ["b1"]
    assert trace["complete"] is False
    assert (await node.ask("admin", "GET", "/v1/events/b1/trace"))[1]["complete"] is True


async def test_anothers_event_is_as_good_as_not_there(node: Guarded) -> None:
    await node.publish("shop.sold", "s1")

    for path in ("/v1/events/%s", "/v1/events/%s/trace", "/v1/events/%s/deliveries", "/v1/deliveries?event=%s"):
        hidden = await node.ask("billing", "GET", path % "s1")
        missing = await node.ask("billing", "GET", path % "s2")
        assert hidden[0] == missing[0] == 404
        assert str(hidden).replace("s1", "s2") == str(missing)
    trial = {"filter": {}, "event_id": "s1"}
    assert (await node.ask("billing", "POST", "/v1/filters/test", trial))[0] == 404
    assert (await node.ask("stranger", "POST", "/v1/filters/test", trial))[0] == 200


async def _dead(node: Guarded, subscription: str, kind: str) -> str:
    await node.put(subscription, kind)
    await node.publish(kind, f"dead-{subscription}")
    pulled = (await node.ask("admin", "POST", f"/v1/subscriptions/{subscription}/pull", {"wait_s": 5}))[1]
    reject = {"reject": [{"delivery_id": pulled["deliveries"][0]["delivery_id"], "error": "no"}]}
    await node.ask("admin", "POST", f"/v1/subscriptions/{subscription}/settle", reject)
    path = f"/v1/dead-letters?subscription={subscription}"
    while not (letters := (await node.ask("admin", "GET", path))[1]["dead_letters"]):
        pass
    return str(letters[0]["id"])


async def test_dead_letters_are_handled_within_the_policy(node: Guarded) -> None:
    mine, theirs = await _dead(node, "mine", "billing.paid"), await _dead(node, "theirs", "shop.sold")

    for path in ("/v1/dead-letters", "/v1/dead-letters?subscription=mine", "/v1/dead-letters/counts"):
        assert (await node.ask("billing", "GET", path))[0] == 403
    _, page = await node.ask("billing", "GET", "/v1/dead-letters?type=billing.>")
    assert [each["id"] for each in page["dead_letters"]] == [mine]
    assert (await node.ask("billing", "GET", f"/v1/dead-letters/{mine}"))[0] == 200
    hidden = await node.ask("billing", "GET", f"/v1/dead-letters/{theirs}")
    missing = await node.ask("billing", "GET", "/v1/dead-letters/absent")
    assert hidden[0] == missing[0] == 404
    assert str(hidden).replace(theirs, "absent") == str(missing)
    assert (await node.ask("billing", "DELETE", f"/v1/dead-letters/{theirs}"))[0] == 404
    for act, done in (("replay", "replayed"), ("purge", "purged")):
        assert (await node.ask("billing", "POST", f"/v1/dead-letters/{act}", {"all": True}))[0] == 403
        _, answer = await node.ask("billing", "POST", f"/v1/dead-letters/{act}", {"ids": [theirs, "absent"]})
        assert answer[done] == 0
    _, answer = await node.ask("billing", "POST", "/v1/dead-letters/purge", {"ids": [mine, theirs]})
    assert answer["purged"] == 1
    assert (await node.ask("admin", "GET", f"/v1/dead-letters/{theirs}"))[0] == 200


async def test_replays_need_the_events_and_the_subscription(node: Guarded) -> None:
    await node.put("mine", "billing.>")
    node.keys.give("consumer", "subscriber")

    to = {"to": "2026-01-01T00:00:00Z"}
    assert (await node.ask("consumer", "POST", "/v1/replays", {"subscription": "mine"}))[0] == 403
    assert (await node.ask("consumer", "POST", "/v1/subscriptions/mine/seek", to))[0] == 403
    status, replay = await node.ask("billing", "POST", "/v1/replays", {"subscription": "mine"})
    assert status == 201
    path = f"/v1/replays/{replay['id']}"
    assert (await node.ask("billing", "GET", path))[0] == 200
    assert (await node.ask("observer", "GET", path))[0] == 200
    assert (await node.ask("stranger", "GET", path))[0] == 404
    assert (await node.ask("stranger", "DELETE", path))[0] == 404
    assert (await node.ask("stranger", "GET", "/v1/replays"))[1] == {"replays": [], "next": None}
    assert (await node.ask("billing", "POST", "/v1/subscriptions/mine/seek", to))[0] == 200


@pytest.mark.parametrize("path", ["/v1/nodes", "/v1/partitions", "/v1/partitions/0", "/metrics"])
async def test_the_cluster_is_looked_at_by_observers(node: Guarded, path: str) -> None:
    assert (await node.ask("observer", "GET", path))[0] == 200
    status, answer = await node.ask("billing", "GET", path)
    assert (status, answer["code"]) == (403, "forbidden")
    assert "key:billing" in answer["detail"]


async def test_the_cluster_is_changed_by_who_may_write(node: Guarded) -> None:
    for method, path in (
        ("POST", "/v1/partitions/rebalance"),
        ("POST", "/v1/nodes/n/drain"),
        ("DELETE", "/v1/nodes/n/drain"),
    ):
        assert (await node.ask("observer", method, path, {}))[0] == 403, path
        assert (await node.ask("admin", method, path, {}))[0] != 403, path


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_subscriptions_have_what_may_be_seen_and_tell_of_nothing_else(node: Guarded, limit: int) -> None:
    mine = ["b1", "b2", "m1", "z1", "z2"]
    for name in mine:
        await node.put(name, "billing.>")
    for name in ("a1", "a2", "c1", "c2", "c3", "n1", "zz1", "zz2"):
        await node.put(name, "shop.>")

    found, cursor, pages = [], "", 0
    while cursor is not None:
        path = f"/v1/subscriptions?limit={limit}{cursor and '&cursor=' + cursor}"
        status, page = await node.ask("billing", "GET", path)
        assert status == 200
        assert len(page["subscriptions"]) <= limit
        found += [each["name"] for each in page["subscriptions"]]
        cursor, pages = page["next"], pages + 1
        if cursor is not None:
            assert base64.urlsafe_b64decode(cursor + "==").decode() in mine
    assert found == mine
    assert pages == -(-len(mine) // limit)


async def test_a_scan_for_what_may_be_seen_is_bounded_and_goes_on_with_the_next_page(
    node: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_subscriptions, "SCANS", 1)
    for name in ("a1", "a2", "a3"):
        await node.put(name, "shop.>")
    await node.put("b1", "billing.>")

    found, path, pages = [], "/v1/subscriptions?limit=1", 0
    while path:
        _, page = await node.ask("billing", "GET", path)
        found += [each["name"] for each in page["subscriptions"]]
        path = f"/v1/subscriptions?limit=1&cursor={page['next']}" if page["next"] else ""
        pages += 1
    assert (found, pages) == (["b1"], 3)


async def test_what_one_expects_is_looked_at_after_what_one_may(node: Guarded) -> None:
    await node.put("theirs", "shop.>")
    await node.put("mine", "billing.>")
    body = {"topics": ["billing.>"]}

    for headers in ({"if-match": '"1"'}, {"if-match": "*"}, {"if-none-match": "*"}):
        assert (await node.ask("billing", "PUT", "/v1/subscriptions/theirs", body, **headers))[0] == 403
        assert (await node.ask("billing", "DELETE", "/v1/subscriptions/theirs", None, **headers))[0] == 404
    assert (await node.ask("billing", "PUT", "/v1/subscriptions/mine", body, **{"if-none-match": "*"}))[0] == 412
    assert (await node.ask("billing", "DELETE", "/v1/subscriptions/mine", None, **{"if-match": '"99999"'}))[0] == 412
    _, seen = await node.ask("billing", "GET", "/v1/subscriptions/mine")
    expected = {"if-match": f'"{seen["revision"]}"'}
    assert (await node.ask("billing", "DELETE", "/v1/subscriptions/mine", None, **expected))[0] == 204
