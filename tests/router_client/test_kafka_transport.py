"""The SDK over Kafka against a real broker: what is its own beside the contract of all transports."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from router_client import (
    Backoff,
    ClientOptions,
    Conflict,
    ConnectionLost,
    Deliveries,
    EventRouterClient,
    InvalidInput,
    PublishResult,
    TooLarge,
)
from router_client.kafka import library
from router_client.kafka.records import texts
from tests.kafka.bridged import topic_of, url_of
from tests.support.fault_proxy import FaultProxy
from tests.support.kafka_server import KafkaServer
from tests.support.kafka_topics import Sent, committed, contents, produce
from tests.support.ports import free_port
from tests.support.signals import wait_for
from tests.support.tls_front import tls_front

pytestmark = pytest.mark.timeout(60)

OPTIONS = ClientOptions(backoff=Backoff(base_s=0.01, max_s=0.1))


def loop_of(server: KafkaServer, partitions: int = 1, **options: object) -> tuple[str, str]:
    """Return a topic and the URL of a client that publishes to it and consumes it."""
    topic = topic_of(server, partitions)
    return topic, url_of(server, publish=topic, consume=topic, **{"group": f"group-of-{topic}", **options})


async def acked(deliveries: Deliveries, count: int) -> list[str]:
    found = []
    async with asyncio.timeout(15):
        for _ in range(count):
            delivery = await anext(deliveries)
            await delivery.ack()
            found.append(delivery.event.id)
    return found


async def test_nothing_acknowledged_is_lost_while_the_broker_is_killed_ten_times(own_kafka_server: KafkaServer) -> None:
    _, url = loop_of(own_kafka_server, partitions=2)
    published: list[str] = []
    came: list[str] = []
    restarted = asyncio.Event()

    async def publish(client: EventRouterClient) -> None:
        n = 0
        while not restarted.is_set():
            batch = [{"type": "a.b", "id": f"{n + i}", "correlation_id": f"key {(n + i) % 5}"} for i in range(20)]
            outcomes = await client.publish_many(batch)
            assert all(isinstance(each, PublishResult) for each in outcomes), outcomes
            published.extend(each["id"] for each in batch)
            n += len(batch)
            await asyncio.sleep(0.01)

    async def consume(deliveries: Deliveries) -> None:
        async for delivery in deliveries:
            came.append(delivery.event.id)
            await delivery.ack()

    async with (
        EventRouterClient(url, options=OPTIONS) as client,
        client.subscription("s").topics("a.b").open() as deliveries,
        asyncio.TaskGroup() as tasks,
    ):
        publishing = tasks.create_task(publish(client))
        consuming = tasks.create_task(consume(deliveries))
        for _ in range(10):
            seen = len(came)
            await wait_for(lambda seen=seen: len(came) > seen + 40, 20, "events between two restarts")  # type: ignore[misc]
            await asyncio.to_thread(own_kafka_server.restart)
        restarted.set()
        await publishing
        await wait_for(lambda: set(published) <= set(came), 20, "the last events")
        consuming.cancel()
    once = [int(each) for each in dict.fromkeys(came)]
    print(f"{len(published)} published and acknowledged, {len(came)} deliveries, {len(once)} different")
    assert {int(each) for each in published} <= set(once)
    for key in range(5):
        of_key = [n for n in once if n % 5 == key]
        assert of_key == sorted(of_key)


async def test_a_broker_that_is_not_there_is_an_error_at_once() -> None:
    options = ClientOptions(connect_timeout_s=1)
    with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:1"):
        await EventRouterClient("kafka://127.0.0.1:1/?publish=t", options=options).__aenter__()


async def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(library, "import_module", missing)
    with pytest.raises(InvalidInput, match=r"pip install event-router\[kafka\]") as caught:
        await EventRouterClient("kafka://127.0.0.1:9092/?publish=t").__aenter__()
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("kafka://", "url"),
        ("kafka://host:0/", "url"),
        ("kafka://host:9092/topic", "url"),
        ("kafka://host:9092/?topic=t", "url.topic"),
        ("kafka://host:9092/?publish=no/topic", "url.publish"),
        ("kafka://host:9092/?consume=a,b c", "url.consume"),
        ("kafka://host:9092/?security=TLS", "url.security"),
        ("kafka://user:secret@host:9092/?security=SSL", "url.security"),
        ("kafka://host:9092/?security=SASL_SSL", "url.security"),
        ("kafka://user:secret@host:9092/?mechanism=GSSAPI", "url.mechanism"),
        ("kafka://host:9092/?session_timeout_s=soon", "url.session_timeout_s"),
    ],
)
async def test_a_url_that_cannot_be_used_names_the_option(url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await EventRouterClient(url).__aenter__()
    assert caught.value.field == field


async def test_what_needs_a_topic_that_the_url_does_not_name_says_so(kafka_server: KafkaServer) -> None:
    async with EventRouterClient(url_of(kafka_server), options=OPTIONS) as client:
        with pytest.raises(InvalidInput, match="publish=TOPIC"):
            await client.publish("a.b")
        with pytest.raises(InvalidInput, match="consume=TOPIC"):
            await client.subscribe("a.b", name="s").__aenter__()


async def test_only_a_router_can_store_filter_and_end_a_subscription(kafka_server: KafkaServer) -> None:
    _, url = loop_of(kafka_server)
    async with EventRouterClient(url, options=OPTIONS) as client:
        for refused, field in (
            (client.subscription("s").topics("a.b").where({"source": "eu"}), "filter"),
            (client.subscription("s").topics("a.b").on_dead_letter("halt"), "on_dead_letter"),
            (client.subscription().topics("a.b"), "durable"),
        ):
            with pytest.raises(InvalidInput) as caught:
                await refused.open().__aenter__()
            assert caught.value.field == field
        for ack in ("replicated", "stored"):
            with pytest.raises(InvalidInput) as caught:
                await client.publish("a.b", ack=ack)
            assert caught.value.field == "ack"


async def test_a_group_is_one_subscription(kafka_server: KafkaServer) -> None:
    _, url = loop_of(kafka_server)
    async with EventRouterClient(url, options=OPTIONS) as client, client.subscribe("a.b", name="one"):
        with pytest.raises(Conflict):
            await client.subscribe("a.b", name="another").__aenter__()


async def test_the_group_is_the_subscriptions_name_unless_the_url_names_one(kafka_server: KafkaServer) -> None:
    topic, url = loop_of(kafka_server, group="")
    name = f"name-{secrets.token_hex(4)}"
    async with EventRouterClient(url, options=OPTIONS) as client, client.subscribe("a.b", name=name) as deliveries:
        await client.publish("a.b", id="x")
        assert await acked(deliveries, 1) == ["x"]
    assert await committed(kafka_server.bootstrap, name, topic) == [1]


async def test_an_offset_is_committed_when_all_before_it_are_settled(kafka_server: KafkaServer) -> None:
    topic, url = loop_of(kafka_server)
    group = f"group-of-{topic}"
    async with EventRouterClient(url, options=OPTIONS) as client:
        async with client.subscription("s").topics("a.b").open() as deliveries:
            await client.publish_many([{"type": "a.b", "id": f"{n}"} for n in range(4)])
            async with asyncio.timeout(10):
                held = {each.event.id: each for each in [await anext(deliveries) for _ in range(4)]}
            for settled in ("0", "2", "3"):
                await held[settled].ack()
        assert await committed(kafka_server.bootstrap, group, topic) == [1]
        async with client.subscription("s").topics("a.b").open() as deliveries:
            # What was acked is acked in silence; only the one that was not comes to the subscriber.
            assert await acked(deliveries, 1) == ["1"]
            assert deliveries.duplicates <= 2
    assert await committed(kafka_server.bootstrap, group, topic) == [4]


async def test_a_failing_event_holds_back_its_key_and_no_other(kafka_server: KafkaServer) -> None:
    _, url = loop_of(kafka_server)
    async with (
        EventRouterClient(url, options=OPTIONS) as client,
        client.subscription("s").topics("a.b").retry(5, base_s=0.05, jitter=0).open() as deliveries,
    ):
        sent = [{"type": "a.b", "id": f"{n}", "correlation_id": f"key {n % 2}"} for n in range(6)]
        await client.publish_many(sent)
        came: list[tuple[str, int]] = []
        async with asyncio.timeout(10):
            while len(came) < 8:
                delivery = await anext(deliveries)
                came.append((delivery.event.id, delivery.attempt))
                await (delivery.nack("not yet") if came[-1] in (("0", 1), ("0", 2)) else delivery.ack())
    assert [each for each in came if int(each[0]) % 2] == [("1", 1), ("3", 1), ("5", 1)]
    assert [each for each in came if not int(each[0]) % 2] == [("0", 1), ("0", 2), ("0", 3), ("2", 1), ("4", 1)]


async def test_after_its_last_attempt_an_event_goes_to_the_dead_letter_topic(kafka_server: KafkaServer) -> None:
    dead = topic_of(kafka_server, what="dead")
    topic, url = loop_of(kafka_server, dead_letters=dead)
    await produce(kafka_server.bootstrap, topic, [Sent(b"nonsense", b"k")])
    async with (
        EventRouterClient(url, options=OPTIONS) as client,
        client.subscription("s").topics("a.b").retry(2, base_s=0.01).open() as deliveries,
    ):
        await client.publish("a.b", id="x", correlation_id="k")
        await client.publish("a.b", id="y", correlation_id="k")
        async with asyncio.timeout(10):
            for attempt in (1, 2):
                delivery = await anext(deliveries)
                assert (delivery.event.id, delivery.attempt) == ("x", attempt)
                await delivery.nack("no use")
        assert await acked(deliveries, 1) == ["y"]
        bad, letter = await contents(kafka_server.bootstrap, dead, 2)
    assert (bad.value, texts(bad.headers)["er-offset"]) == (b"nonsense", "0")
    assert texts(letter.headers)["er-error"] == "no use (2 attempts)"
    assert await committed(kafka_server.bootstrap, f"group-of-{topic}", topic) == [3]


async def test_without_a_dead_letter_topic_an_event_is_tried_until_it_is_taken(kafka_server: KafkaServer) -> None:
    topic, url = loop_of(kafka_server)
    await produce(kafka_server.bootstrap, topic, [Sent(b"nonsense", b"k")])
    async with (
        EventRouterClient(url, options=OPTIONS) as client,
        client.subscription("s").topics("a.b").retry(2, base_s=0.01).open() as deliveries,
    ):
        await client.publish("a.b", id="x")
        async with asyncio.timeout(10):
            for attempt in range(1, 6):
                delivery = await anext(deliveries)
                assert delivery.attempt == attempt
                await delivery.nack("no use")
        assert await acked(deliveries, 1) == ["x"]
    assert await committed(kafka_server.bootstrap, f"group-of-{topic}", topic) == [2]


async def test_what_is_not_settled_when_another_member_joins_comes_again(kafka_server: KafkaServer) -> None:
    _, url = loop_of(kafka_server, partitions=2)
    sent = [{"type": "a.b", "id": f"{n}"} for n in range(20)]
    async with (
        EventRouterClient(url, options=OPTIONS) as one,
        EventRouterClient(url, options=OPTIONS) as other,
        one.subscription("s").topics("a.b").open() as first,
    ):
        await one.publish_many(sent)
        async with asyncio.timeout(15):
            held = [await anext(first) for _ in range(20)]
        for delivery in held[:10]:
            await delivery.ack()
        async with other.subscription("s").topics("a.b").open() as second, asyncio.TaskGroup() as tasks:
            came: list[str] = []

            async def consume(deliveries: Deliveries) -> None:
                async for delivery in deliveries:
                    came.append(delivery.event.id)
                    await delivery.ack()

            consuming = [tasks.create_task(consume(each)) for each in (first, second)]
            await held[10].ack()  # void: it comes again, and is acked in silence if it comes to this client
            await wait_for(lambda: {each.event.id for each in held[11:]} <= set(came), 20, "what was not settled")
            assert first.reconnects >= 1
            for task in consuming:
                task.cancel()
    assert len(came) == len(set(came))


async def test_a_record_beyond_what_the_broker_takes_is_refused_alone(kafka_server: KafkaServer) -> None:
    _, url = loop_of(kafka_server)
    async with EventRouterClient(url, options=OPTIONS) as client:
        client._transport._producer._max_request_size = 2_000  # type: ignore[union-attr]
        large = {"type": "a.b", "payload": {"x": "y" * 3_000}}
        outcomes = await client.publish_many([{"type": "a.b"}, large, {"type": "a.b"}])
    assert [type(each) for each in outcomes] == [PublishResult, TooLarge, PublishResult]


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[KafkaServer, FaultProxy]]:
    """Run a broker whose clients all go through a proxy."""
    server = KafkaServer()
    async with FaultProxy("127.0.0.1", server.port) as proxy:
        server.advertised_port = proxy.port
        with server:
            yield server, proxy


async def test_a_broker_that_answers_nothing_does_not_keep_the_client_from_leaving() -> None:
    async with proxied() as (server, proxy):
        _, url = loop_of(server)
        options = ClientOptions(publish_timeout_s=0.5, close_timeout_s=0.5)
        async with EventRouterClient(url, options=options) as client, client.subscribe("a.b", name="s") as deliveries:
            await client.publish("a.b", id="x")
            assert await acked(deliveries, 1) == ["x"]
            proxy.stall()
            with pytest.raises(ConnectionLost):
                await client.publish("a.b")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 8
        proxy.flow()


async def test_connections_that_are_cut_ten_times_lose_nothing() -> None:
    async with proxied() as (server, proxy):
        _, url = loop_of(server)
        published: set[str] = set()
        came: set[str] = set()

        async def consume(deliveries: Deliveries) -> None:
            async for delivery in deliveries:
                came.add(delivery.event.id)
                await delivery.ack()

        async with (
            EventRouterClient(url, options=replace(OPTIONS, publish_timeout_s=3)) as client,
            client.subscribe("a.b", name="s") as deliveries,
            asyncio.TaskGroup() as tasks,
        ):
            consuming = tasks.create_task(consume(deliveries))
            for n in range(10):
                sent = [{"type": "a.b", "id": f"{n}-{i}"} for i in range(20)]
                publishing = tasks.create_task(client.publish_many(sent, batch=5))
                (proxy.half_open if n == 5 else proxy.drop_connections)()
                while lost := [each for each in await publishing if not isinstance(each, PublishResult)]:
                    assert all(isinstance(each, ConnectionLost) for each in lost)
                    publishing = tasks.create_task(client.publish_many(sent, batch=5))
                published.update(each["id"] for each in sent)
                await wait_for(lambda: published <= came, 20, "what was published")
            consuming.cancel()


async def test_over_tls_both_sides_show_a_certificate(tmp_path: Path) -> None:
    ca, stranger = trustme.CA(), trustme.CA()
    mine = ca.issue_cert("client.internal")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "mine.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    server = KafkaServer()
    server.advertised_port = free_port()
    async with tls_front(server.advertised_port, server.port, context):
        with server:
            tls = {"security": "SSL", "ca": tmp_path / "ca.pem", "cert": tmp_path / "mine.pem"}
            _, url = loop_of(server, **tls)
            async with EventRouterClient(url, options=OPTIONS) as client, client.subscribe("a.b", name="s") as came:
                await client.publish("a.b", id="x")
                assert await acked(came, 1) == ["x"]
            for wrong in ({"ca": tmp_path / "stranger.pem"}, {"security": "PLAINTEXT"}):
                _, url = loop_of(server, **{**tls, **wrong})
                with pytest.raises(ConnectionLost):
                    await EventRouterClient(url, options=replace(OPTIONS, connect_timeout_s=2)).__aenter__()
            _, url = loop_of(server, **{**tls, "ca": tmp_path / "none.pem"})
            with pytest.raises(InvalidInput, match="certificates"):
                await EventRouterClient(url).__aenter__()


async def test_a_login_that_is_refused_is_one_of_our_errors(kafka_server: KafkaServer) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        url = f"kafka://me:wrong@{kafka_server.bootstrap}/?security=SASL_PLAINTEXT&mechanism={mechanism}&publish=t"
        with pytest.raises(ConnectionLost):
            await EventRouterClient(url, options=replace(OPTIONS, connect_timeout_s=2)).__aenter__()
