"""Bridges of an embedded node from a real broker."""

from __future__ import annotations

import asyncio
import secrets

import orjson
import pytest

from router_client.cloudevents import to_structured
from router_client.errors import EventRouterError, Overloaded, Unavailable
from router_client.event import Event
from router_client.kafka.records import texts, write_event
from router_node.contract import Results
from router_node.node import Node
from tests.kafka.bridged import bridged, taking, topic_of
from tests.support.kafka_server import KafkaServer
from tests.support.kafka_topics import Sent, committed, contents, event, produce
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(60)

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


async def test_an_event_object_arrives_with_every_member(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    body = {"id": "x", "type": "a.b", "priority": 8, "payload": {"n": 1}, "correlation_id": "c", "source": "eu"}
    await produce(kafka_server.bootstrap, topic, [Sent(orjson.dumps(body), b"another key")])
    async with bridged(kafka_server, {"topics": [topic]}) as node:
        consumer = await taking(node)
        await consumer.has(1)
    assert {name: consumer.events[0][name] for name in body} == body


async def test_what_a_record_does_not_say_its_place_and_key_do(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    records = [event(key="order-7"), event(), Sent(b'{"type":"a.b"}', b"\xff\x00")]
    await produce(kafka_server.bootstrap, topic, records)
    async with bridged(kafka_server, {"topics": [topic]}) as node:
        consumer = await taking(node)
        await consumer.has(3)
    found = {each["id"]: each["correlation_id"] for each in consumer.events}
    place = f"kafka:{topic}:0"
    assert found == {f"{place}:0": "order-7", f"{place}:1": f"{place}:1", f"{place}:2": "ff00"}


async def test_cloudevents_come_structured_and_binary(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    sent = Event(type="a.b", id="structured", payload={"n": 1}, source="https://eu", correlation_id="own")
    structured = orjson.dumps(to_structured(sent))
    binary = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"binary"),
        ("ce_type", b"a.c"),
        ("ce_source", "/s/é%20".encode()),
        ("content-type", b"application/json"),
        ("traceparent", TRACE.encode()),
    )
    records = [
        Sent(structured, b"key", (("content-type", b"application/cloudevents+json; charset=utf-8"),)),
        Sent(b'{"n": 2}', b"key", binary),
    ]
    await produce(kafka_server.bootstrap, topic, records)
    async with bridged(kafka_server, {"topics": [topic]}) as node:
        consumer = await taking(node)
        await consumer.has(2)
    one, two = sorted(consumer.events, key=lambda each: str(each["type"]))
    assert (one["id"], one["payload"], one["correlation_id"]) == ("structured", {"n": 1}, "own")
    assert (two["id"], two["payload"], two["correlation_id"], two["source"]) == ("binary", {"n": 2}, "key", "/s/é%20")
    assert two["metadata"]["traceparent"] == TRACE


async def test_any_json_is_a_payload_with_members_made_of_the_record(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    made = {"type": "orders.{header:Kind}", "correlation_id": "{payload.order.id}", "source": "{topic}", "priority": 7}
    records = [
        Sent(b'{"order":{"id":12}}', None, (("kind", b"created"),)),
        Sent(b'{"order":{"id":"x"}}', None, (("kind", b"paid"), ("traceparent", TRACE.encode()))),
        Sent(b'{"order":{}}', None, (("kind", b"paid"),)),
        Sent(b'{"order":{"id":1}}'),
    ]
    await produce(kafka_server.bootstrap, topic, records)
    bridge = {"topics": [topic], "records": "payload", "map": made}
    async with bridged(kafka_server, bridge) as node:
        consumer = await taking(node)
        await consumer.has(1)
        await wait_for(lambda: node.kafka.counts.skipped == 3, 10, "three that lack something")
    assert [(each["type"], each["correlation_id"]) for each in consumer.events] == [("orders.paid", "x")]
    assert consumer.events[0]["priority"] == 7
    assert consumer.events[0]["source"] == topic
    assert consumer.events[0]["metadata"]["traceparent"] == TRACE


async def test_what_is_no_event_goes_to_the_dead_letter_topic_with_its_cause(kafka_server: KafkaServer) -> None:
    topic, dead = topic_of(kafka_server), topic_of(kafka_server, what="dead")
    bad = [Sent(b"nonsense", b"k", (("h", b"1"),)), Sent(b'{"type":"a..b"}'), Sent(None, b"tombstone"), Sent(b"[]")]
    large = Sent(orjson.dumps({"type": "a.b", "payload": {"x": "y" * 300_000}}))
    await produce(kafka_server.bootstrap, topic, [event("first"), *bad, large, event("last")])
    group = f"group-{secrets.token_hex(4)}"
    async with bridged(kafka_server, {"topics": [topic], "dead_letter_topic": dead, "group": group}) as node:
        consumer = await taking(node)
        await consumer.has(2)
        found = await contents(kafka_server.bootstrap, dead, 5)
    assert consumer.ids == ["first", "last"]
    assert (found[0].key, found[0].value, texts(found[0].headers)["h"]) == (b"k", b"nonsense", "1")
    causes = [texts(each.headers) for each in found]
    assert [each["er-error"].partition(":")[0] for each in causes] == ["value", "type", "value", "value", "event"]
    assert [(each["er-topic"], each["er-partition"], each["er-offset"]) for each in causes] == [
        (topic, "0", str(offset)) for offset in range(1, 6)
    ]
    assert causes[4]["er-code"] == "too_large"
    assert await committed(kafka_server.bootstrap, group, topic) == [7]
    assert (node.kafka.counts.refused, node.kafka.counts.dead_lettered, node.kafka.counts.skipped) == (5, 5, 0)


async def test_a_dead_letter_topic_that_takes_nothing_does_not_stop_the_partition(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, dead = topic_of(kafka_server), topic_of(kafka_server, what="dead")
    await produce(kafka_server.bootstrap, topic, [*[Sent(b"nonsense")] * 5, event("after")])
    async with bridged(kafka_server, {"topics": [topic], "dead_letter_topic": dead}) as node:
        tried = 0

        async def refuse(*_: object) -> None:
            nonlocal tried
            tried += 1
            raise Unavailable("no such topic")

        monkeypatch.setattr(node.kafka._producers, "send", refuse)
        consumer = await taking(node)
        await consumer.has(1)
    assert consumer.ids == ["after"]
    assert (node.kafka.counts.dead_lettered, node.kafka.counts.skipped, tried) == (0, 5, 1)


async def test_order_holds_per_key(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server, partitions=4)
    records = [event(f"{n}", key=f"key {n % 7}") for n in range(2_000)]
    await produce(kafka_server.bootstrap, topic, records)
    async with bridged(kafka_server, {"topics": [topic], "batch": 50}) as node:
        consumer = await taking(node)
        await consumer.has(2_000, within_s=30)
    by_key: dict[str, list[int]] = {}
    for each in consumer.events:
        by_key.setdefault(each["correlation_id"], []).append(int(each["id"]))
    assert by_key == {f"key {k}": list(range(k, 2_000, 7)) for k in range(7)}


async def test_overload_holds_the_bridge_back_and_loses_nothing(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    group = f"group-{secrets.token_hex(4)}"
    await produce(kafka_server.bootstrap, topic, [event(f"{n}", key="one") for n in range(300)])
    bridge = {"topics": [topic], "group": group, "batch": 20}
    async with bridged(kafka_server, bridge, backlog_limit=40) as node:
        absent = {"topics": ["a.*"], "max_in_flight": 1000}
        await node.management.put_subscription("absent", absent)
        await wait_for(lambda: node.kafka.counts.held_back > 0, 15, "held back")
        before = await committed(kafka_server.bootstrap, group, topic)
        assert before[0] <= node.kafka.counts.appended < 300
        consumer = await taking(node, "a.*", name="absent")
        await consumer.has(300, within_s=30)
    assert consumer.ids == [f"{n}" for n in range(300)]
    assert await committed(kafka_server.bootstrap, group, topic) == [300]


async def test_offsets_are_committed_only_after_the_append_was_answered(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, group = topic_of(kafka_server), f"group-{secrets.token_hex(4)}"
    await produce(kafka_server.bootstrap, topic, [event(f"{n}", key=f"{n}") for n in range(10)])
    refused = asyncio.Event()

    async def some(self: Node, events: list[Event | EventRouterError], *, ack: str = "accepted") -> Results:
        refused.set()
        part: list[Event | EventRouterError] = [
            Overloaded("full", retry_after_s=3600) if isinstance(e, Event) and int(e.id) >= 4 else e for e in events
        ]
        return await self.pipeline.publisher.publish_events(part, ack=ack)

    with monkeypatch.context() as patched:
        patched.setattr(Node, "publish_events", some)
        async with bridged(kafka_server, {"topics": [topic], "group": group}) as node:
            consumer = await taking(node)
            await asyncio.wait_for(refused.wait(), 15)
            await consumer.has(4)
        assert sorted(consumer.ids) == ["0", "1", "2", "3"]
    assert await committed(kafka_server.bootstrap, group, topic) == [4]
    async with bridged(kafka_server, {"topics": [topic], "group": group}) as node:
        consumer = await taking(node)
        await consumer.has(6)
    assert sorted(consumer.ids) == [f"{n}" for n in range(4, 10)]


async def test_an_offset_that_is_committed_is_of_a_stored_event_when_that_is_asked_for(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, group = topic_of(kafka_server), f"group-{secrets.token_hex(4)}"
    await produce(kafka_server.bootstrap, topic, [event(f"{n}") for n in range(5)])
    asked: set[str] = set()
    publish = Node.publish_events

    async def noted(self: Node, events: list[Event | EventRouterError], *, ack: str = "accepted") -> Results:
        asked.add(ack)
        return await publish(self, events, ack=ack)

    monkeypatch.setattr(Node, "publish_events", noted)
    async with bridged(kafka_server, {"topics": [topic], "group": group, "ack": "stored"}) as node:

        async def all_committed() -> bool:
            return await committed(kafka_server.bootstrap, group, topic) == [5]

        await wait_for(all_committed, 15, "the offsets")
        assert [(await node.management.event(f"{n}")).id for n in range(5)] == [f"{n}" for n in range(5)]
    assert asked == {"stored"}


async def test_a_level_that_the_node_does_not_offer_buries_no_record(kafka_server: KafkaServer) -> None:
    topic, group = topic_of(kafka_server), f"group-{secrets.token_hex(4)}"
    await produce(kafka_server.bootstrap, topic, [event("x")])
    async with bridged(kafka_server, {"topics": [topic], "group": group, "ack": "replicated"}) as node:
        await wait_for(lambda: node.kafka.counts.held_back > 0, 15, "held back")
        assert node.kafka.counts.refused == 0
    assert await committed(kafka_server.bootstrap, group, topic) == [0]


async def test_records_that_come_again_are_known_by_their_place(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    await produce(kafka_server.bootstrap, topic, [event(key="k") for _ in range(20)])
    twice = [{"topics": [topic], "group": f"{name}-{secrets.token_hex(4)}"} for name in ("one", "other")]
    async with bridged(kafka_server, *twice) as node:
        consumer = await taking(node)
        await wait_for(lambda: node.kafka.counts.duplicates == 20, 15, "the repeats")
        await consumer.has(20)
    assert consumer.ids == [f"kafka:{topic}:0:{n}" for n in range(20)]


async def test_two_nodes_share_the_partitions_and_one_that_leaves_gives_its_part_back(
    kafka_server: KafkaServer,
) -> None:
    topic, group = topic_of(kafka_server, partitions=4), f"group-{secrets.token_hex(4)}"
    bridge = {"topics": [topic], "group": group}
    async with bridged(kafka_server, bridge) as one:
        first = await taking(one)
        async with bridged(kafka_server, bridge) as other:
            second = await taking(other)
            sent = 0
            async with asyncio.timeout(30):
                while not (first.events and second.events):
                    batch = [event(f"{sent + n}", partition_key) for n, partition_key in enumerate("abcdefgh")]
                    await produce(kafka_server.bootstrap, topic, batch)
                    sent += len(batch)
                    await asyncio.sleep(0.2)
            await wait_for(lambda: len({*first.ids, *second.ids}) == sent, 15, "all events")
        await produce(kafka_server.bootstrap, topic, [event(f"late {n}", f"{n}") for n in range(8)])
        await wait_for(lambda: sum(each.startswith("late") for each in first.ids) == 8, 15, "the rest")
    assert len({*first.ids, *second.ids}) == sent + 8


async def test_a_member_that_is_held_back_gives_a_partition_on_and_publishes_nothing_more_of_it(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, group = topic_of(kafka_server, partitions=2), f"group-{secrets.token_hex(4)}"
    records = [event(f"{n}", f"{n}")._replace(partition=n % 2) for n in range(40)]
    await produce(kafka_server.bootstrap, topic, records)
    bridge = {"topics": [topic], "group": group}
    opened = False

    async with bridged(kafka_server, bridge) as one:
        publish = one.pipeline.publisher.publish_events

        async def some(events: list[Event | EventRouterError], *, ack: str = "accepted", permit: None) -> Results:
            return await publish([_refused(e) if not opened else e for e in events], ack=ack, permit=permit)

        def _refused(content: Event | EventRouterError) -> Event | EventRouterError:
            late = isinstance(content, Event) and int(content.id) >= 10
            return Overloaded("full", retry_after_s=0.1) if late else content

        monkeypatch.setattr(one.pipeline.publisher, "publish_events", some)
        first = await taking(one)
        await first.has(10)
        async with bridged(kafka_server, bridge) as other:
            second = await taking(other)
            await second.has(15)
            assert len(first.ids) == 10
            opened = True
            await first.has(25)
            await wait_for(lambda: one.kafka.lag == other.kafka.lag == 0, 10, "both are done")
    assert len(first.ids) == 25
    assert sorted(first.ids + second.ids, key=int) == [f"{n}" for n in range(40)]
    assert len({int(each) % 2 for each in second.ids}) == 1


async def test_a_broker_that_is_not_there_yet_is_waited_for() -> None:
    server = KafkaServer()
    try:
        async with bridged(server, {"topics": ["later"]}) as node:
            await wait_for(lambda: node.kafka.counts.failures > 0, 15, "a failure")
            server.start()
            server.create_topic("later")
            await produce(server.bootstrap, "later", [event("x")])
            consumer = await taking(node)
            await consumer.has(1, within_s=30)
            assert node.kafka.counts.running == 1
        assert node.kafka.counts.running == 0
    finally:
        server.remove()


async def test_the_metrics_tell_what_was_read_and_what_is_still_to_come(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    await produce(kafka_server.bootstrap, topic, [event(f"{n}") for n in range(5)])
    async with bridged(kafka_server, {"topics": [topic]}) as node:
        await wait_for(lambda: node.kafka.counts.appended == 5, 15, "five events")
        page = node.metrics.text().decode()
    assert "er_kafka_records_total 5.0" in page
    assert "er_kafka_appended_total 5.0" in page
    assert "er_kafka_lag 0.0" in page
    assert "er_kafka_bridges_running 1.0" in page


def test_an_event_written_to_a_record_is_read_from_it() -> None:
    sent = Event(type="a.b", id="x", payload={"n": 1}, correlation_id="k", metadata={"traceparent": TRACE})
    for content in ("event", "structured", "binary"):
        record = write_event(sent.encode(), content)
        assert record.key == b"k"
        assert texts(record.headers)["traceparent"] == TRACE
