"""One suite for every transport of the SDK: what an application may rely on, whichever URL it was given."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from router_client import (
    Backoff,
    ClientOptions,
    ClosedError,
    Conflict,
    Deliveries,
    EventRouterClient,
    InvalidInput,
    NotFound,
    PublishResult,
    TooLarge,
)
from router_client.transports.by_url import transport_for
from router_client.transports.port import Outcome
from tests.router_client.served_node import served
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(30)

OPTIONS = ClientOptions(backoff=Backoff(base_s=0.01, max_s=0.1))


TRANSPORTS = ["memory", "ws", "http", "redis"]
WHEREVER_REDIS_IS = pytest.mark.parametrize("url", [*TRANSPORTS, "sentinel", "cluster"], indirect=True)
ON_REDIS = {"redis": "redis_url", "sentinel": "redis_sentinel_url", "cluster": "redis_cluster_url"}


@pytest.fixture(params=TRANSPORTS)
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param in ON_REDIS:
        redis_url = request.getfixturevalue(ON_REDIS[request.param])
        cluster = f"contract-{secrets.token_hex(4)}"
        # Its own address, since that is where clients of Redis find it.
        listen = f"127.0.0.1:{free_port()}"
        async with served(redis_url=redis_url, cluster=cluster, partitions=8, listen=listen):
            yield f"{redis_url}?cluster={cluster}"
    elif request.param == "memory":
        # A client that stays, so that the router outlives those of the test.
        async with EventRouterClient("memory://contract"):
            yield "memory://contract"
    else:
        async with served() as address:
            yield f"{request.param}://{address}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[EventRouterClient]:
    async with EventRouterClient(url, options=OPTIONS) as client:
        yield client


async def ids(deliveries: Deliveries, count: int) -> list[str]:
    """Ack so many deliveries and return their event ids."""
    found = []
    async with asyncio.timeout(5):
        for _ in range(count):
            delivery = await anext(deliveries)
            await delivery.ack()
            found.append(delivery.event.id)
    return found


def problems(outcomes: list[Outcome]) -> list[object]:
    return ["ok" if isinstance(outcome, PublishResult) else outcome.field for outcome in outcomes]


@WHEREVER_REDIS_IS
async def test_a_publish_answers_with_id_partition_and_duplicate(client: EventRouterClient) -> None:
    first = await client.publish("orders.created", {"amount": 1}, id="order-7", correlation_id="key")
    again = await client.publish("orders.created", {"amount": 1}, id="order-7", correlation_id="key")
    assert first == PublishResult("order-7", first.partition, False)
    assert again == PublishResult("order-7", first.partition, True)


@WHEREVER_REDIS_IS
async def test_every_member_of_an_event_arrives(client: EventRouterClient) -> None:
    async with client.subscribe("orders.*", name="audit") as deliveries:
        payload = {"text": "déjà vu \u2028 \U0001f600", "list": [1, 2.5, None, True], "deep": {"er": {}}}
        sent = {"priority": 9, "source": "eu", "correlation_id": "key", "metadata": {"traceparent": "00-1"}}
        await client.publish("orders.created", payload, id="x", target="audit", **sent)  # type: ignore[arg-type]
        async with asyncio.timeout(5):
            delivery = await anext(deliveries)
        event = delivery.event
        assert (event.id, event.type, event.payload, event.target, delivery.attempt) == (
            "x",
            "orders.created",
            payload,
            "audit",
            1,
        )
        assert {name: getattr(event, name) for name in sent} == sent
        await delivery.ack()


@WHEREVER_REDIS_IS
async def test_a_batch_is_answered_part_by_part(client: EventRouterClient) -> None:
    events = [{"type": "a.b"}, {"type": "a..b"}, {"type": "a.b", "priority": 10}, {"type": "a.b"}, {"nonsense": 1}]
    assert problems(await client.publish_many(events, batch=2)) == ["ok", "type", "priority", "ok", "nonsense"]


@WHEREVER_REDIS_IS
async def test_an_event_that_is_too_large_is_refused_alone(client: EventRouterClient) -> None:
    outcomes = await client.publish_many([{"type": "a.b", "payload": {"x": "y" * 300_000}}, {"type": "a.b"}])
    assert isinstance(outcomes[0], TooLarge)
    assert isinstance(outcomes[1], PublishResult)


@WHEREVER_REDIS_IS
async def test_many_large_events_are_cut_into_batches_the_router_takes(client: EventRouterClient) -> None:
    outcomes = await client.publish_many([{"type": "a.b", "payload": {"x": "y" * 200_000}} for _ in range(12)])
    assert problems(outcomes) == ["ok"] * 12


@WHEREVER_REDIS_IS
async def test_events_of_one_key_arrive_in_the_order_of_publish_many(client: EventRouterClient) -> None:
    sent = [{"type": "a.b", "id": f"{n}", "correlation_id": f"key {n % 3}"} for n in range(120)]
    async with client.subscribe("a.b", name="s") as deliveries:
        await client.publish_many(sent, batch=7)
        seen = await ids(deliveries, len(sent))
        for key in range(3):
            assert [int(each) for each in seen if int(each) % 3 == key] == list(range(key, 120, 3))


@WHEREVER_REDIS_IS
async def test_a_generator_of_events_is_published_as_it_yields(client: EventRouterClient) -> None:
    async def source() -> AsyncIterator[dict[str, str]]:
        for n in range(25):
            yield {"type": "a.b", "id": f"{n}"}

    outcomes = [outcome async for outcome in client.publish_stream(source(), batch=10)]
    assert [outcome.id for outcome in outcomes if isinstance(outcome, PublishResult)] == [f"{n}" for n in range(25)]


@WHEREVER_REDIS_IS
async def test_what_the_router_refuses_names_the_field(client: EventRouterClient) -> None:
    with pytest.raises(InvalidInput) as caught:
        await client.publish("a.*")
    assert caught.value.field == "type"
    with pytest.raises(InvalidInput) as caught:
        await client.publish("a.b", ack="carved in stone")
    assert caught.value.field == "ack"
    with pytest.raises(InvalidInput) as caught:
        await client.subscription("s").topics("a.b").where({"payload.x": {"$nonsense": 1}}).open().__aenter__()
    assert (caught.value.field or "").startswith("filter")


async def test_a_filter_is_the_routers_work(client: EventRouterClient) -> None:
    async with client.subscribe("a.*", name="s", where={"payload.n": {"$gt": 1}}) as deliveries:
        await client.publish_many([{"type": "a.b", "id": f"{n}", "payload": {"n": n}} for n in range(3)])
        assert await ids(deliveries, 1) == ["2"]


async def test_a_nack_comes_back_with_the_next_attempt(client: EventRouterClient) -> None:
    async with client.subscription("s").topics("a.*").open() as deliveries:
        await client.publish("a.b", id="x")
        async with asyncio.timeout(5):
            await (await anext(deliveries)).nack("not now", delay_s=0)
            again = await anext(deliveries)
        assert (again.event.id, again.attempt) == ("x", 2)
        await again.ack()


async def test_a_rejected_event_is_a_dead_letter_and_can_be_replayed(client: EventRouterClient) -> None:
    async with client.subscribe("a.*", name="s") as deliveries:
        await client.publish("a.b", {"n": 1}, id="x")
        async with asyncio.timeout(5):
            await (await anext(deliveries)).reject("hopeless")
            while not (letters := await client.history.dead_letters(subscription="s")):
                await asyncio.sleep(0.01)
        assert letters[0]["error"] == "hopeless"
        assert letters[0]["event"]["payload"] == {"n": 1}
        assert letters[0]["dead_at"].endswith("Z")
        assert await client.history.replay([letters[0]["id"]]) == 1
        assert await ids(deliveries, 1) == ["x"]


async def test_extending_keeps_a_delivery_beyond_its_ack_timeout(client: EventRouterClient) -> None:
    async with client.subscription("s").topics("a.*").ack_timeout(0.4).open() as deliveries:
        await client.publish("a.b", id="x")
        async with asyncio.timeout(5):
            delivery = await anext(deliveries)
        for _ in range(4):
            await asyncio.sleep(0.2)
            await delivery.extend()
        await delivery.ack()
        await client.publish("a.b", id="y")
        assert await ids(deliveries, 1) == ["y"]


async def test_more_events_than_credit_flow_as_they_are_acked(client: EventRouterClient) -> None:
    async with client.subscription("s").topics("a.*").credit(5).open() as deliveries:
        await client.publish_many([{"type": "a.b", "id": f"{n}"} for n in range(33)])
        assert sorted(await ids(deliveries, 33), key=int) == [f"{n}" for n in range(33)]


async def test_credit_beyond_what_may_be_in_flight_does_no_harm(client: EventRouterClient) -> None:
    async with client.subscription("s").topics("a.*").max_in_flight(3).credit(100).open() as deliveries:
        await client.publish_many([{"type": "a.b", "id": f"{n}"} for n in range(20)])
        assert len(set(await ids(deliveries, 20))) == 20


async def test_what_was_not_settled_comes_again(url: str) -> None:
    async with EventRouterClient(url, options=OPTIONS) as client, reopened(client) as deliveries:
        await client.publish("a.b", id="kept")
        async with asyncio.timeout(5):
            await anext(deliveries)
    async with EventRouterClient(url, options=OPTIONS) as client, reopened(client) as deliveries:
        assert await ids(deliveries, 1) == ["kept"]


def reopened(client: EventRouterClient) -> AbstractAsyncContextManager[Deliveries]:
    return client.subscription("s").topics("a.*").ack_timeout(0.3).open()


async def test_every_ack_is_sent_before_leaving(url: str) -> None:
    for n in range(3):
        async with (
            EventRouterClient(url, options=OPTIONS) as client,
            client.subscribe("a.*", name="s") as deliveries,
        ):
            await client.publish("a.b", id=f"{n}")
            assert await ids(deliveries, 1) == [f"{n}"]


async def test_two_clients_share_the_work_of_one_subscription(url: str) -> None:
    async with (
        EventRouterClient(url, options=OPTIONS) as one,
        EventRouterClient(url, options=OPTIONS) as other,
        one.subscription("s").topics("a.*").credit(1).open() as first,
        other.subscription("s").topics("a.*").credit(1).open() as second,
    ):
        # So many keys that each consumer has some: which it has is decided by names that may be new every time.
        await one.publish_many([{"type": "a.b", "id": f"{n}"} for n in range(40)])
        async with asyncio.timeout(5):
            deliveries = [await anext(first), await anext(second)]
        assert len({delivery.event.id for delivery in deliveries}) == 2
        for delivery in deliveries:
            await delivery.ack()


async def test_one_client_opens_a_subscription_once(client: EventRouterClient) -> None:
    async with client.subscribe("a.*", name="s"):
        with pytest.raises(Conflict):
            await client.subscribe("a.*", name="s").__aenter__()
    async with client.subscribe("a.*", name="s"):
        pass


async def test_stored_events_can_be_asked_for(client: EventRouterClient) -> None:
    await client.publish_many([{"type": "a.b", "id": f"{n}", "payload": {"n": n}, "source": "eu"} for n in range(5)])
    async with asyncio.timeout(5):
        while len((await client.history.page(source="eu")).events) < 5:
            await asyncio.sleep(0.01)
    assert (await client.history.event("3")).payload == {"n": 3}
    assert [event.id for event in (await client.history.page(payload={"n": 4})).events] == ["4"]
    found = [event.id async for event in client.history.events(type="a.*", order="asc", limit=2)]
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    with pytest.raises(NotFound):
        await client.history.event("never published")


async def test_leaving_the_client_ends_iteration_and_later_calls(url: str) -> None:
    async with EventRouterClient(url, options=OPTIONS) as client:
        opened = client.subscribe("a.*", name="s")
        deliveries = await opened.__aenter__()
    async with asyncio.timeout(5):
        assert [delivery async for delivery in deliveries] == []
    with pytest.raises(ClosedError):
        await client.publish("a.b")
    await opened.__aexit__(None, None, None)


async def test_a_cancelled_wait_loses_nothing(client: EventRouterClient) -> None:
    async with client.subscribe("a.*", name="s") as deliveries:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(deliveries)
        await client.publish("a.b", id="x")
        assert await ids(deliveries, 1) == ["x"]


async def test_a_transport_may_be_closed_twice_and_without_a_start(url: str) -> None:
    transport = transport_for(url, OPTIONS)
    await transport.close()
    transport = transport_for(url, OPTIONS)
    await transport.start()
    await transport.close()
    await transport.close()
    with pytest.raises(ClosedError):
        await transport.publish([b"{}"], "accepted")
