"""The WebSocket protocol against a real server and a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from router_client.errors import EventRouterError, Overloaded
from router_node.contract import Published, Results
from router_node.node import Node, embedded
from router_node.security.permit import Permit
from tests.edges.served import Link, Served, served

GOOD = {"type": "flights.departed", "payload": {"n": 1}}


@asynccontextmanager
async def own(**limits: Any) -> AsyncIterator[Served]:
    """A node with limits of its own."""
    async with embedded() as node, served(node.engine, node.management, **limits) as server:
        yield server


async def subscribe(link: Link, name: str | None = "late", **members: Any) -> str:
    frame = {"op": "subscribe", "ref": 1, "topics": ["flights.>"], "credit": 100, "ordering": "none", **members}
    if name is not None:
        frame["name"] = name
    answer = await link.ask(**frame)
    assert answer["op"] == "subscribed", answer
    return str(answer["name"])


async def publish(node: Served, *ids: str) -> None:
    results = await node.engine.publish([{**GOOD, "id": each} for each in ids])
    assert [each.id for each in results if isinstance(each, Published)] == list(ids)


async def closed(link: Link) -> tuple[int | None, str | None]:
    async with asyncio.timeout(5):
        await link.connection.wait_closed()
    return link.connection.close_code, link.connection.close_reason


async def test_the_greeting_names_the_node_and_its_limits(node: Served) -> None:
    async with node.link(greet=False) as link:
        welcome = await link.ask(op="hello", version=1, token="any")
    assert (welcome["op"], welcome["node"], welcome["cluster"]) == ("welcome", "node-1", "test")
    assert welcome["limits"]["max_frame_bytes"] == 1024 * 1024


@pytest.mark.parametrize(
    ("first", "field"),
    [
        ('{"op":"ping"}', "op"),
        ('{"op":"hello","version":2,"ref":7}', "version"),
        ('{"op":"hello"}', "version"),
        ('{"op":"hello","version":1,"token":5}', "token"),
        ("nonsense", "frame"),
        (b"\x01\x02", "frame"),
    ],
)
async def test_without_a_hello_there_is_no_conversation(node: Served, first: str | bytes, field: str) -> None:
    async with node.link(greet=False) as link:
        await link.raw(first)
        answer = await link.next()
        assert (answer["op"], answer["error"]["field"]) == ("error", field)
        assert await closed(link) == (1008, "the first frame must be a hello")


async def test_a_hello_that_does_not_come_is_not_waited_for() -> None:
    async with own(hello_timeout_s=0.05) as node, node.link(greet=False) as link:
        assert (await closed(link))[0] == 1008


async def test_publishes_are_answered_by_ref_with_one_result_per_event(node: Served) -> None:
    async with node.link() as link:
        events = [{**GOOD, "id": "a"}, {**GOOD, "priority": 10}, "no event", {**GOOD, "id": "b"}]
        answer = await link.ask(op="publish", ref=7, ack="accepted", events=events)
        assert (answer["op"], answer["ref"]) == ("published", 7)
        first, second, third, fourth = answer["results"]
        assert (first["id"], first["duplicate"], fourth["id"]) == ("a", False, "b")
        assert (second["error"]["field"], third["error"]["field"]) == ("priority", "event")
        answer = await link.ask(op="publish", ref="x", ack="perhaps", events=[GOOD])
        assert (answer["op"], answer["ref"], answer["error"]["field"]) == ("error", "x", "ack")
        assert (await link.ask(op="publish", events=[]))["results"] == []


async def test_many_publishes_under_way_are_appended_in_order(node: Served) -> None:
    async with node.link() as link, node.link() as listener:
        await subscribe(listener, None, credit=1000, ordering="key", max_in_flight=1000)
        for number in range(300):
            await link.send(
                op="publish", ref=number, events=[{**GOOD, "correlation_id": "k", "payload": {"n": number}}]
            )
        answers = [await link.next() for _ in range(300)]
        assert sorted(answer["ref"] for answer in answers) == list(range(300))
        seen: list[int] = []
        while len(seen) < 300:
            batch = await listener.deliveries(1)
            seen += [each["event"]["payload"]["n"] for each in batch]
            await listener.send(op="settle", ack=[each["delivery_id"] for each in batch])
        assert seen == list(range(300))


async def test_what_is_sent_behind_a_subscribe_waits_for_it(node: Served) -> None:
    async with node.link() as link:
        await link.send(op="subscribe", ref=1, name="late", topics=["flights.>"])
        await link.send(op="ping", ref=2)
        await link.send(op="publish", ref=3, events=[{**GOOD, "id": "e1"}])
        await link.send(op="subscribe", ref=4, name="late", topics=["flights.>"])
        await link.send(op="ping", ref=5)
        answers = [await link.next() for _ in range(6)]
    by_order = [
        (answer["op"], answer.get("ref")) for answer in answers if answer["op"] in ("subscribed", "pong", "error")
    ]
    assert by_order == [("subscribed", 1), ("pong", 2), ("error", 4), ("pong", 5)]
    assert {answer["op"] for answer in answers} >= {"published", "deliver"}


async def test_what_was_sent_before_the_client_closed_is_done(node: Served) -> None:
    async with node.link() as listener:
        await subscribe(listener)
        async with node.link() as link:
            await link.send(op="subscribe", ref=1, name="own", topics=["a"])
            await link.send(op="publish", ref=2, events=[{**GOOD, "id": "last"}])
        assert [each["event"]["id"] for each in await listener.deliveries(1)] == ["last"]


async def test_deliveries_come_within_credit_and_are_settled(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link, credit=2)
        await publish(node, "e1", "e2", "e3", "e4")
        first, second = await link.deliveries(2)
        assert (first["event"]["id"], first["attempt"], first["event"]["payload"]) == ("e1", 1, {"n": 1})
        await link.send(
            op="settle", ack=[first["delivery_id"]], nack=[{"delivery_id": second["delivery_id"], "delay_s": 0}]
        )
        assert (await link.ask(op="ping", ref=3)) == {"op": "pong", "ref": 3}
        await link.send(op="credit", name="late", add=3)
        rest = await link.deliveries(3)
        assert sorted((each["event"]["id"], each["attempt"]) for each in rest) == [("e2", 2), ("e3", 1), ("e4", 1)]
        await link.send(op="settle", reject=[rest[0]["delivery_id"]], extend=[rest[1]["delivery_id"]])
        await link.send(op="settle", ack=[each["delivery_id"] for each in rest[1:]])
        assert (await link.ask(op="ping"))["op"] == "pong"


async def test_credit_comes_with_what_is_settled(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link, credit=1)
        await publish(node, "e1", "e2", "e3")
        (first,) = await link.deliveries(1)
        await link.send(op="settle", ack=[first["delivery_id"]], credit={"late": 2})
        assert [each["event"]["id"] for each in await link.deliveries(2)] == ["e2", "e3"]
        refused = await link.ask(op="settle", ref=7, credit={"never": 1})
        assert (refused["ref"], refused["error"]["code"], refused["error"]["field"]) == (7, "not_found", "name")


async def test_ids_that_are_not_in_flight_are_named_and_nothing_else_suffers(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link)
        await publish(node, "e1")
        (delivery,) = await link.deliveries(1)
        key = delivery["delivery_id"].partition(".")[0]
        unknown = ["1.0.0", f"{key}.9.9.9", "", "\u00e9"]
        answer = await link.ask(op="settle", ref=5, ack=[*unknown, delivery["delivery_id"]])
        assert (answer["op"], answer["ref"], answer["error"]["code"]) == ("error", 5, "not_found")
        assert sorted(answer["unknown"]) == sorted(unknown)
        assert (await link.ask(op="settle", ack=[delivery["delivery_id"]]))["unknown"] == [delivery["delivery_id"]]


async def test_one_subscription_cannot_settle_for_another(node: Served) -> None:
    async with node.link() as one, node.link() as two:
        await subscribe(one, "one")
        await subscribe(two, "two")
        await publish(node, "e1")
        (mine,) = await one.deliveries(1)
        (other,) = await two.deliveries(1)
        answer = await two.ask(op="settle", ack=[mine["delivery_id"]])
        assert answer["unknown"] == [mine["delivery_id"]]
        await two.send(op="settle", ack=[other["delivery_id"]])
        assert (await two.ask(op="ping"))["op"] == "pong"


async def test_a_nameless_subscription_gets_a_name_and_lives_with_its_connection(node: Served) -> None:
    async with node.link() as link:
        name = await subscribe(link, None)
        assert name in [each["name"] for each in await node.management.subscriptions()]
    async with asyncio.timeout(5):
        while name in [each["name"] for each in await node.management.subscriptions()]:
            await asyncio.sleep(0.01)


async def test_what_a_lost_connection_held_goes_to_the_next(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link)
        await publish(node, "e1", "e2")
        assert len(await link.deliveries(2)) == 2
        link.connection.transport.abort()
    async with node.link() as link:
        await subscribe(link)
        again = await link.deliveries(2)
        assert sorted((each["event"]["id"], each["attempt"]) for each in again) == [("e1", 2), ("e2", 2)]


async def test_unsubscribing_hands_back_and_frees_the_name(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link)
        again = await link.ask(op="subscribe", ref=2, name="late", topics=["a"])
        assert (again["ref"], again["error"]["code"]) == (2, "conflict")
        assert await link.ask(op="unsubscribe", ref=3, name="late") == {"op": "unsubscribed", "ref": 3, "name": "late"}
        assert (await link.ask(op="unsubscribe", ref=4, name="late"))["error"]["code"] == "not_found"
        await subscribe(link)


async def test_a_subscription_that_ends_is_reported_by_name(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link)
        await node.management.delete_subscription("late", discard_backlog=True)
        frame = await link.next()
        assert (frame["op"], frame["name"], frame["error"]["code"]) == ("error", "late", "not_found")
        assert (await link.ask(op="credit", name="late", add=1))["error"]["field"] == "name"
        await subscribe(link)


BAD_FRAMES: list[tuple[str | bytes, str]] = [
    ("", "frame"),
    ("{", "frame"),
    ("[]", "frame"),
    ("null", "frame"),
    (b'{"op":"ping"}', "frame"),
    ('{"op":"publish","events":[{"type":"a","payload":{"x":NaN}}]}', "frame"),
    ('{"op":"publish","events":[{"type":"\\ud800"}]}', "frame"),
    ('{"op":"publish","events":' + "[" * 5000 + "]" * 5000 + "}", "frame"),
    ("{}", "op"),
    ('{"op":7}', "op"),
    ('{"op":"dance"}', "op"),
    ('{"op":"hello","version":1}', "op"),
    ('{"op":"ping","ref":[]}', "ref"),
    ('{"op":"ping","ref":1.5}', "ref"),
    ('{"op":"ping","colour":"red"}', "colour"),
    ('{"op":"publish","ref":1}', "events"),
    ('{"op":"publish","ref":1,"events":{}}', "events"),
    ('{"op":"publish","ref":1,"ack":1,"events":[]}', "ack"),
    ('{"op":"publish","ref":1,"events":[],"colour":1}', "colour"),
    ('{"op":"subscribe","ref":1,"name":"x"}', "topics"),
    ('{"op":"subscribe","ref":1,"name":"x","topics":["a..b"]}', "topics[0]"),
    ('{"op":"subscribe","ref":1,"name":"x","topics":["a.>.b"]}', "topics[0]"),
    ('{"op":"subscribe","ref":1,"name":"x y","topics":["a"]}', "name"),
    ('{"op":"subscribe","ref":1,"name":7,"topics":["a"]}', "name"),
    ('{"op":"subscribe","ref":1,"durable":true,"topics":["a"]}', "name"),
    ('{"op":"subscribe","ref":1,"durable":0,"topics":["a"]}', "durable"),
    ('{"op":"subscribe","ref":1,"name":"x","topics":["a"],"credit":-1}', "credit"),
    ('{"op":"subscribe","ref":1,"name":"x","topics":["a"],"credit":10001}', "credit"),
    ('{"op":"subscribe","ref":1,"name":"x","topics":["a"],"filter":7}', "filter"),
    ('{"op":"subscribe","ref":1,"name":"x","topics":["a"],"colour":1}', "colour"),
    ('{"op":"unsubscribe","ref":1}', "name"),
    ('{"op":"unsubscribe","ref":1,"name":"never"}', "name"),
    ('{"op":"settle","credit":["late"]}', "credit"),
    ('{"op":"settle","credit":{"late":0}}', "credit.late"),
    ('{"op":"settle","credit":{"late":10001}}', "credit.late"),
    ('{"op":"credit","name":"late"}', "add"),
    ('{"op":"credit","name":"late","add":0}', "add"),
    ('{"op":"credit","name":"late","add":true}', "add"),
    ('{"op":"credit","name":"never","add":1}', "name"),
    ('{"op":"settle","ack":"x"}', "ack"),
    ('{"op":"settle","ack":[1]}', "ack"),
    ('{"op":"settle","nack":[7]}', "nack[0]"),
    ('{"op":"settle","nack":[{"delay_s":1}]}', "nack[0].delivery_id"),
    ('{"op":"settle","nack":["x",{"delivery_id":"y","delay_s":"1"}]}', "nack[1].delay_s"),
    ('{"op":"settle","nack":[{"delivery_id":"y","delay_s":-1}]}', "nack[0].delay_s"),
    ('{"op":"settle","reject":[{"delivery_id":"y","error":1}]}', "reject[0].error"),
    ('{"op":"settle","extend":{}}', "extend"),
    ('{"op":"settle","name":"late"}', "name"),
]


async def test_a_bad_frame_is_named_and_the_connection_goes_on(node: Served) -> None:
    async with node.link() as link:
        await subscribe(link)
        for text, field in BAD_FRAMES:
            await link.raw(text)
            answer = await link.next()
            assert (answer["op"], answer["error"]["field"]) == ("error", field), (text, answer)
            assert answer["error"]["status"] in (400, 404)
            if '"ref":1,' in str(text):
                assert answer["ref"] == 1, text
        await publish(node, "e1")
        assert (await link.deliveries(1))[0]["event"]["id"] == "e1"


async def test_a_number_that_no_decoder_can_hold_costs_only_its_event(node: Served) -> None:
    async with node.link() as link:
        for number in ("99999999999999999999999", "1e999"):
            await link.raw(
                f'{{"op":"publish","ref":7,"events":[{{"type":"a","payload":{{"x":{number}}}}},{{"type":"a"}}]}}'
            )
            answer = await link.next()
            assert (answer["op"], answer["ref"]) == ("published", 7)
            assert answer["results"][0]["error"]["field"] == "event"
            assert answer["results"][1]["duplicate"] is False


async def test_a_filter_that_is_wrong_is_refused(node: Served) -> None:
    async with node.link() as link:
        answer = await link.ask(op="subscribe", ref=1, name="x", topics=["a"], filter={"payload.x": {"$bad": 1}})
        assert (answer["op"], answer["ref"], answer["error"]["field"]) == ("error", 1, "filter.payload.x.$bad")


@pytest.mark.parametrize(("payload", "code"), [(b"x" * 1_100_000, 1009), (b'{"op":"\xff"}', 1007)])
async def test_only_what_cannot_be_a_frame_closes_the_connection(node: Served, payload: bytes, code: int) -> None:
    async with node.link() as link:
        await link.connection.send(payload, text=True)
        assert (await closed(link))[0] == code


async def test_a_stopping_node_answers_what_is_under_way_and_says_goodbye(node: Served) -> None:
    async with node.link() as link:
        await link.send(op="publish", ref=1, events=[GOOD])
        assert (await link.next())["op"] == "published"
        node.stop.set()
        assert await link.next() == {"op": "draining"}
        assert await closed(link) == (1001, "the node is stopping")
    async with asyncio.timeout(5):
        await node.stopped.wait()


class Slow:
    """An engine that begins to publish when it is told to."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.begun = asyncio.Semaphore(0)
        self.under_way = 0
        self._waiting: list[tuple[Sequence[object], Callable[[Results | EventRouterError], None]]] | None = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    def begin_publish(
        self, objects: Sequence[object], done: Callable[[Results | EventRouterError], None], _: Permit | None = None
    ) -> None:
        self.under_way += 1
        self.begun.release()
        if self._waiting is None:
            self.node.begin_publish(objects, done)
        else:
            self._waiting.append((objects, done))

    def go(self) -> None:
        """Publish what waits, and from now on at once."""
        waiting, self._waiting = self._waiting or [], None
        for objects, done in waiting:
            self.node.begin_publish(objects, done)


@asynccontextmanager
async def slow(**limits: Any) -> AsyncIterator[tuple[Slow, Served]]:
    async with embedded() as node:
        engine = Slow(node)
        async with served(engine, node.management, **limits) as server:
            yield engine, server


async def test_draining_waits_for_publishes_under_way() -> None:
    async with slow() as (engine, node), node.link() as link:
        await link.send(op="publish", ref=1, events=[GOOD])
        await engine.begun.acquire()
        node.stop.set()
        assert await link.next() == {"op": "draining"}
        engine.go()
        assert (await link.next())["op"] == "published"
        assert (await closed(link))[0] == 1001


async def test_only_so_many_publishes_are_under_way_at_once() -> None:
    async with slow(max_publishes_in_flight=4) as (engine, node), node.link() as link:
        for number in range(10):
            await link.send(op="publish", ref=number, events=[GOOD])
        for _ in range(4):
            await engine.begun.acquire()
        # The ping was read only once there was room, that is after the publishes before it.
        await link.send(op="ping")
        await asyncio.sleep(0.05)
        assert engine.under_way == 4
        engine.go()
        frames = [await link.next() for _ in range(11)]
        assert sorted(frame["ref"] for frame in frames if frame["op"] == "published") == list(range(10))


async def test_a_reader_that_is_too_slow_is_let_go() -> None:
    async with own(max_outbound_frames=5, max_waiting_frames=1000) as node, node.link() as link:
        for number in range(100):  # each is answered with about 250 KB, more than the sockets between hold
            await link.send(op="publish", ref=number, events=[7] * 1000)
        async with asyncio.timeout(10):
            while len(node.app.connections) and link.connection.close_code is None:
                await link.next_or_end()
        assert await closed(link) == (4008, "slow reader: too many frames wait to be read")


async def test_connections_and_subscriptions_are_limited() -> None:
    async with own(max_connections=1, max_subscriptions_per_connection=1) as node:
        async with node.link() as link:
            await subscribe(link, "one")
            answer = await link.ask(op="subscribe", ref=1, name="two", topics=["a"])
            assert (answer["error"]["code"], answer["error"]["field"]) == ("too_large", "name")
            with pytest.raises(InvalidStatus) as refusal:
                await connect(f"ws://127.0.0.1:{node.port}/v1/ws")
            assert refusal.value.response.status_code == Overloaded.status
            assert b"overloaded" in (refusal.value.response.body or b"")
        async with asyncio.timeout(5):
            while len(node.app.connections):
                await asyncio.sleep(0.01)
        async with node.link():
            pass


async def test_there_is_one_websocket_address(node: Served) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"ws://127.0.0.1:{node.port}/v1/wss")
    assert refusal.value.response.status_code == 404
