"""What a publisher and a subscriber may choose about delivery: target, schedule, order, dead letters."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from router_client import EventRouterClient
from tests.support.signals import wait_for


async def test_an_event_with_a_target_goes_to_that_subscription_alone(client: EventRouterClient) -> None:
    one, two = (client.subscription(name).topics("orders.*") for name in ("one", "two"))
    async with one.open() as at_one, two.open() as at_two:
        await client.publish("orders.paid", {"n": 1}, target="two")
        await client.publish("orders.paid", {"n": 2}, target="nobody")
        await client.publish("orders.paid", {"n": 3})
        async with asyncio.timeout(5):
            assert (await anext(at_one)).event.payload == {"n": 3}
            assert [(await anext(at_two)).event.payload for _ in range(2)] == [{"n": 1}, {"n": 3}]


async def test_an_event_comes_when_it_is_due_or_not_at_all(client: EventRouterClient) -> None:
    async with client.subscription("reminders").topics("reminders.*").open() as deliveries:
        now = datetime.now(UTC)
        await client.publish("reminders.send", {"n": 1}, deliver_at=now + timedelta(seconds=0.4))
        await client.publish("reminders.send", {"n": 2})
        async with asyncio.timeout(5):
            found = []
            for _ in range(2):
                delivery = await anext(deliveries)
                found.append(delivery.event.payload["n"])
                await delivery.ack()
    assert found == [2, 1]
    assert datetime.now(UTC) - now >= timedelta(seconds=0.3)


async def test_strict_order_goes_before_priority_for_one_key(client: EventRouterClient) -> None:
    ledger = client.subscription("ledger").topics("account.*").ordering("strict")
    async with ledger.open() as deliveries:
        for number, priority in enumerate([1, 9, 5, 9, 0]):
            await client.publish("account.changed", {"n": number}, correlation_id="account-7", priority=priority)
        async with asyncio.timeout(5):
            found = []
            for _ in range(5):
                delivery = await anext(deliveries)
                found.append(delivery.event.payload["n"])
                await delivery.ack()
    assert found == [0, 1, 2, 3, 4]


async def test_a_key_may_halt_behind_its_dead_letter(client: EventRouterClient) -> None:
    billing = client.subscription("billing").topics("orders.*").on_dead_letter("halt")
    async with billing.open() as deliveries:
        for number in range(2):
            await client.publish("orders.paid", {"n": number}, correlation_id="order-7")
        async with asyncio.timeout(5):
            await (await anext(deliveries)).reject("the ledger is closed")

        async def dead() -> bool:
            return len(await client.history.dead_letters(subscription="billing")) == 1

        await wait_for(dead, 5, "the event is a dead letter")
        await client.publish("orders.paid", {"n": 9}, correlation_id="order-8")
        async with asyncio.timeout(5):
            assert (await anext(deliveries)).event.payload == {"n": 9}, "other keys go on, order-7 waits"
