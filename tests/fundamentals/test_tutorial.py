"""Event Router in twelve steps, through the SDK, in the order of an event's way. Read it from top to bottom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router_client import Deliveries, Delivery, EventRouterClient, InvalidInput, PublishResult

pytestmark = pytest.mark.timeout(20)


async def take(deliveries: Deliveries, count: int) -> AsyncIterator[Delivery]:
    """Yield so many deliveries, each of which must come within five seconds."""
    for _ in range(count):
        async with asyncio.timeout(5):
            delivery = await anext(deliveries)
        yield delivery


async def ack(deliveries: Deliveries, count: int) -> list[str]:
    """Ack so many deliveries and return their event ids in the order they came."""
    ids = []
    async for delivery in take(deliveries, count):
        ids.append(delivery.event.id)
        await delivery.ack()
    return ids


async def test_01_publishing_answers_with_the_id_and_the_partition(client: EventRouterClient) -> None:
    result = await client.publish("orders.created", {"amount": 120}, correlation_id="order-7", priority=7)
    assert result.id
    assert result.partition >= 0
    assert not result.duplicate
    with pytest.raises(InvalidInput) as caught:
        await client.publish("orders..created")
    assert caught.value.field == "type"


async def test_02_topics_choose_events_by_their_type(client: EventRouterClient) -> None:
    """``*`` stands for one token, a final ``>`` for one or more."""
    async with (
        client.subscribe("orders.*", name="orders") as orders,
        client.subscribe("orders.created", "flights.>", name="both") as both,
    ):
        for topic in ("orders.created", "orders.paid", "flights.departed.JFK.AA"):
            await client.publish(topic, id=topic, correlation_id="one key")
        assert await ack(orders, 2) == ["orders.created", "orders.paid"]
        assert await ack(both, 2) == ["orders.created", "flights.departed.JFK.AA"]


async def test_03_filters_choose_events_by_their_content(client: EventRouterClient) -> None:
    late = client.subscription("late").topics("flights.departed.>").where({"payload.dep_delay": {"$gt": 60}})
    async with late.open() as deliveries:
        for delay in (5, 61, 240):
            await client.publish("flights.departed.JFK.AA", {"dep_delay": delay}, id=f"{delay}", correlation_id="N1")
        assert await ack(deliveries, 2) == ["61", "240"]


async def test_04_priorities_go_first(client: EventRouterClient) -> None:
    urgent_first = client.subscription("work").topics("jobs.*").credit(1)
    async with urgent_first.open():
        pass
    for priority in (1, 5, 9):
        await client.publish("jobs.new", id=f"priority {priority}", priority=priority, correlation_id=f"{priority}")
    async with urgent_first.open() as deliveries:
        assert await ack(deliveries, 3) == ["priority 9", "priority 5", "priority 1"]


async def test_05_events_of_one_key_stay_in_order_one_in_flight(client: EventRouterClient) -> None:
    async with client.subscribe("orders.*", name="orders") as deliveries:
        for step in ("created", "paid", "shipped"):
            await client.publish(f"orders.{step}", correlation_id="order-7")
        await client.publish("orders.created", correlation_id="order-8")
        seen = []
        async for delivery in take(deliveries, 4):
            event = delivery.event
            seen.append((event.correlation_id, event.type))
            await delivery.ack()
        order_7 = [topic for key, topic in seen if key == "order-7"]
        assert order_7 == ["orders.created", "orders.paid", "orders.shipped"]


async def test_06_an_acked_event_is_done(client: EventRouterClient) -> None:
    subscription = client.subscription("audit").topics("orders.*")
    async with subscription.open() as deliveries:
        await client.publish("orders.created", id="first", correlation_id="order-7")
        assert await ack(deliveries, 1) == ["first"]
    async with subscription.open() as deliveries:
        await client.publish("orders.paid", id="second", correlation_id="order-7")
        assert await ack(deliveries, 1) == ["second"]


async def test_07_a_failed_event_is_tried_again(client: EventRouterClient) -> None:
    """A nack gives the event back; its key waits for it, other keys do not."""
    patient = client.subscription("billing").topics("orders.*").retry(max_attempts=3, base_s=0.05)
    async with patient.open() as deliveries:
        await client.publish("orders.created", id="fails once", correlation_id="order-7")
        async for delivery in take(deliveries, 1):
            assert delivery.attempt == 1
            await delivery.nack("the bank is closed")
        async for delivery in take(deliveries, 1):
            assert (delivery.event.id, delivery.attempt) == ("fails once", 2)
            await delivery.ack()


async def test_08_what_fails_for_good_becomes_a_dead_letter(client: EventRouterClient) -> None:
    """Dead letters name the reason, can be looked at, and can be delivered again."""
    strict = client.subscription("billing").topics("orders.*").retry(max_attempts=1)
    async with strict.open() as deliveries:
        await client.publish("orders.created", {"amount": -1}, id="bad")
        async for delivery in take(deliveries, 1):
            await delivery.nack("a negative amount")
        async with asyncio.timeout(5):
            while not (letters := await client.history.dead_letters(subscription="billing")):
                await asyncio.sleep(0.01)
        assert [(letter["event"]["id"], letter["error"]) for letter in letters] == [("bad", "a negative amount")]
        assert await client.history.replay([letters[0]["id"]]) == 1
        assert await ack(deliveries, 1) == ["bad"]


async def test_09_a_durable_subscription_keeps_its_backlog(client: EventRouterClient) -> None:
    """From its first opening on: whoever comes back gets what happened meanwhile."""
    subscription = client.subscription("nightly").topics("orders.*")
    async with subscription.open():
        pass
    for number in range(3):
        await client.publish("orders.created", id=f"{number}", correlation_id="order-7")
    async with subscription.open() as deliveries:
        assert await ack(deliveries, 3) == ["0", "1", "2"]


async def test_10_an_ephemeral_subscription_is_a_live_tail(client: EventRouterClient) -> None:
    """Without a name a subscription gets what is published while it is open, and leaves nothing behind."""
    await client.publish("orders.created", id="before")
    async with client.subscribe("orders.*") as tail:
        await client.publish("orders.created", id="while open")
        assert await ack(tail, 1) == ["while open"]


async def test_11_publishing_an_id_again_changes_nothing(client: EventRouterClient) -> None:
    """So a publisher that got no answer may publish again."""
    async with client.subscribe("orders.*", name="orders") as deliveries:
        first = await client.publish("orders.created", id="order-7/created", correlation_id="order-7")
        again = await client.publish("orders.created", id="order-7/created", correlation_id="order-7")
        assert (again.id, again.partition, again.duplicate) == (first.id, first.partition, True)
        await client.publish("orders.paid", id="order-7/paid", correlation_id="order-7")
        assert await ack(deliveries, 2) == ["order-7/created", "order-7/paid"]


async def test_12_every_event_is_stored_and_can_be_asked_for(client: EventRouterClient) -> None:
    events = [{"type": "orders.created", "id": f"{n}", "payload": {"amount": n}} for n in range(3)]
    outcomes = await client.publish_many(events)
    assert [outcome.id for outcome in outcomes if isinstance(outcome, PublishResult)] == ["0", "1", "2"]
    async with asyncio.timeout(5):
        while len((await client.history.page(type="orders.*")).events) < 3:
            await asyncio.sleep(0.01)
    assert (await client.history.event("2")).payload == {"amount": 2}
    page = await client.history.page(type="orders.*", payload={"amount": 1})
    assert [event.id for event in page.events] == ["1"]
    everything = [event.id async for event in client.history.events(type="orders.>", limit=2)]
    assert sorted(everything) == ["0", "1", "2"]
