"""Kafka destinations of an embedded node on a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from router_client.errors import Conflict, InvalidInput
from router_client.kafka import library
from router_client.kafka.records import read_event, texts
from router_node.config import Settings
from router_node.destinations import breaker
from router_node.node import Node, embedded
from tests.destinations.endpoint import attempts, publish
from tests.kafka.bridged import topic_of, url_of
from tests.support.kafka_server import KafkaServer
from tests.support.kafka_topics import contents
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(60)

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
BODY: dict[str, Any] = {"topics": ["a.>"], "retry": {"max_attempts": 3, "base_s": 0.01, "jitter": 0}}


@asynccontextmanager
async def router(server: KafkaServer, topics: str = "*", **settings: Any) -> AsyncIterator[Node]:
    """Run an embedded node that may send to a broker."""
    allowed = {"kafka_destinations": [url_of(server, topics=topics)], **settings}
    async with embedded(settings=Settings(database_url="sqlite:///:memory:", **allowed)) as node:
        yield node


async def subscribe(node: Node, topic: str, *, spec: Mapping[str, Any] | None = None, **destination: Any) -> None:
    """Have the events of topic a.> sent to a Kafka topic."""
    body = {**BODY, **(spec or {}), "destination": {"kind": "kafka", "topic": topic, **destination}}
    await node.management.put_subscription("hook", body)


async def test_an_event_is_acknowledged_when_the_brokers_have_it(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    async with router(kafka_server) as node:
        await subscribe(node, topic)
        (event_id,) = await publish(node, 1, metadata={"traceparent": TRACE})
        (logged,) = await attempts(node, 1)
        (record,) = await contents(kafka_server.bootstrap, topic, 1)
        assert node.destinations.kafka_counts.delivered == 1
    body = orjson.loads(record.value)
    assert (body["id"], body["payload"], record.key) == (event_id, {"n": 0}, b"k0")
    assert texts(record.headers) == {"content-type": "application/json", "traceparent": TRACE}
    assert (logged.attempt.outcome, logged.attempt.response) == ("acked", f"{topic}, partition 0, offset 0")


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_as_a_cloudevent(kafka_server: KafkaServer, mode: str) -> None:
    topic = topic_of(kafka_server)
    async with router(kafka_server) as node:
        await subscribe(node, topic, format="cloudevent", mode=mode)
        (event_id,) = await publish(node, 1, source="/é 100%25")
        (record,) = await contents(kafka_server.bootstrap, topic, 1)
    headers = texts(record.headers)
    event = read_event(record)
    assert (event.id, event.payload, event.source, event.correlation_id) == (event_id, {"n": 0}, "/é 100%25", "k0")
    if mode == "binary":
        assert (headers["ce_id"], headers["ce_source"], orjson.loads(record.value)) == (
            event_id,
            "/é 100%25",
            {"n": 0},
        )
    else:
        assert headers["content-type"].startswith("application/cloudevents+json")


@pytest.mark.parametrize(("key", "expected"), [("id", "x"), ("type", "a.b"), ("source", "eu"), ("none", None)])
async def test_the_key_is_the_member_asked_for(kafka_server: KafkaServer, key: str, expected: str | None) -> None:
    topic = topic_of(kafka_server)
    async with router(kafka_server) as node:
        await subscribe(node, topic, key=key)
        await publish(node, 1, id="x", source="eu")
        (record,) = await contents(kafka_server.bootstrap, topic, 1)
    assert record.key == (expected.encode() if expected else None)


async def test_order_holds_per_key(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server, partitions=3)
    async with router(kafka_server) as node:
        await subscribe(node, topic, spec={"max_in_flight": 1000})
        events = [{"type": "a.b", "correlation_id": f"k{n % 5}", "payload": {"n": n}} for n in range(1000)]
        await node.engine.publish(events)
        records = await contents(kafka_server.bootstrap, topic, 1000)
    by_key: dict[bytes, list[int]] = {}
    for record in records:
        by_key.setdefault(record.key, []).append(orjson.loads(record.value)["payload"]["n"])
    assert by_key == {f"k{k}".encode(): list(range(k, 1000, 5)) for k in range(5)}


async def test_nothing_is_allowed_that_the_operator_did_not_allow(kafka_server: KafkaServer) -> None:
    async with embedded() as node:
        with pytest.raises(InvalidInput, match="kafka_destinations") as caught:
            await subscribe(node, "out")
        assert caught.value.field == "destination.kind"
    async with router(kafka_server, topics="out.*,audit") as node:
        for topic, bootstrap, field in (
            ("secret", None, "destination.topic"),
            ("out", None, "destination.topic"),
            ("out.x", "127.0.0.1:22", "destination.bootstrap"),
            ("out.x", f"{kafka_server.bootstrap},169.254.169.254:80", "destination.bootstrap"),
            ("out.x", "169.254.169.254", "destination.bootstrap"),
        ):
            with pytest.raises(InvalidInput) as caught:
                await subscribe(node, topic, bootstrap=bootstrap)
            assert caught.value.field == field
        await subscribe(node, "out.x", bootstrap=kafka_server.bootstrap)
        await subscribe(node, "audit")


async def test_what_is_not_allowed_any_more_is_not_sent(kafka_server: KafkaServer) -> None:
    """A subscription outlives the settings of the node that took it."""
    topic = topic_of(kafka_server)
    async with router(kafka_server, topics="something-else") as node:
        node.management._check_destination = lambda _: None  # type: ignore[attr-defined]
        await subscribe(node, topic)
        await publish(node, 1)
        logged = [each.attempt for each in await attempts(node, 3)]
        assert node.destinations.kafka_counts.delivered == 0
    assert {each.outcome for each in logged[:2]} == {"failed"}
    assert "kafka_destinations" in logged[0].error


async def test_without_the_package_a_destination_says_what_to_install(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(library, "import_module", missing)
    async with router(kafka_server) as node:
        with pytest.raises(InvalidInput, match=r"pip install event-router\[kafka\]") as caught:
            await subscribe(node, "out")
    assert caught.value.field == "destination.kind"


async def test_a_record_that_kafka_never_takes_is_a_dead_letter_at_once(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = topic_of(kafka_server)
    monkeypatch.setattr(library, "MAX_REQUEST_BYTES", 2_000)
    async with router(kafka_server) as node:
        await subscribe(node, topic)
        await node.engine.publish([{"type": "a.b", "id": "large", "payload": {"x": "y" * 3_000}}])
        (logged,) = await attempts(node, 1)
        await publish(node, 1)
        (record,) = await contents(kafka_server.bootstrap, topic, 1)
        assert node.destinations.kafka_counts.rejected == 1
    assert (logged.attempt.event_id, logged.attempt.outcome) == ("large", "rejected")
    assert "takes no record of" in logged.attempt.error
    assert orjson.loads(record.value)["payload"] == {"n": 0}


async def test_a_broker_that_is_away_makes_no_dead_letters(
    own_kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.05)
    topic = topic_of(own_kafka_server)
    async with router(own_kafka_server) as node:
        await subscribe(node, topic, timeout_s=0.3)
        counts = node.destinations.kafka_counts
        own_kafka_server.kill()
        ids = await publish(node, 8)
        await wait_for(lambda: counts.failed >= 16, 30, "failures")
        assert counts.open_breakers == 1
        own_kafka_server.restart()
        records = await contents(own_kafka_server.bootstrap, topic, 8)
        await wait_for(lambda: counts.delivered == 8, 10, "all are acknowledged")
        assert counts.open_breakers == 0
        page = await node.management.letters.counts()
    assert {orjson.loads(record.value)["id"] for record in records} == set(ids)
    assert not page.counts


async def test_the_subscription_is_the_destinations_alone(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    async with router(kafka_server) as node:
        await subscribe(node, topic)
        with pytest.raises(Conflict, match="kafka"):
            node.engine.attach("hook", None, 1)  # type: ignore[arg-type]


async def test_a_destination_may_become_another_kind_and_back(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    async with router(kafka_server) as node:
        await subscribe(node, topic)
        await publish(node, 1, id="one")
        await contents(kafka_server.bootstrap, topic, 1)
        await node.management.put_subscription("hook", {**BODY, "destination": {"kind": "consumer"}})
        await publish(node, 1, id="two")
        await subscribe(node, topic)
        records = await contents(kafka_server.bootstrap, topic, 2)
    assert [orjson.loads(record.value)["id"] for record in records] == ["one", "two"]


async def test_stopping_lets_what_is_under_way_end(kafka_server: KafkaServer) -> None:
    topic = topic_of(kafka_server)
    async with router(kafka_server) as node:
        await subscribe(node, topic, spec={"max_in_flight": 1000})
        await publish(node, 500)
        await wait_for(lambda: node.destinations.kafka_counts.delivered > 0, 10, "the first")
        under_way = node.destinations.kafka_counts
    assert under_way.in_flight == 0
    assert len(await contents(kafka_server.bootstrap, topic, under_way.delivered)) >= under_way.delivered
