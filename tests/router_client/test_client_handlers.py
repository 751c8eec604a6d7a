from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router_client import Delivery, EventRouterClient, InvalidInput

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
async def client() -> AsyncIterator[EventRouterClient]:
    async with EventRouterClient("memory://") as client:
        yield client


async def run_until(client: EventRouterClient, done: asyncio.Event, *publish: str) -> None:
    """Run the client's handlers, publish those topics once all subscriptions exist, and stop when ``done`` is set."""
    for handler in client._handlers:
        async with handler.subscription.open():
            pass
    running = asyncio.create_task(client.run())
    for topic in publish:
        await client.publish(topic, correlation_id=None if "any" in topic else "key")
    async with asyncio.timeout(5):
        await done.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_each_handler_gets_its_topics_and_returning_acks(client: EventRouterClient) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    @client.on("flights.>", name="flights")
    async def flights(delivery: Delivery) -> None:
        seen.append(f"flights {delivery.event.type}")

    @client.on("orders.*", name="orders")
    async def orders(delivery: Delivery) -> None:
        seen.append(f"orders {delivery.event.type}")
        if delivery.event.type == "orders.last":
            done.set()

    await run_until(client, done, "flights.departed.JFK", "orders.created", "orders.last")
    assert sorted(seen) == ["flights flights.departed.JFK", "orders orders.created", "orders orders.last"]


async def test_an_exception_gives_the_event_back_with_its_text(client: EventRouterClient) -> None:
    attempts: list[int] = []

    subscription = client.subscription("s").topics("a.*").retry(max_attempts=2, base_s=0.01)
    done = asyncio.Event()

    @client.on(using=subscription, concurrency=2)
    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 2:
            done.set()
        raise ValueError("no such account")

    await run_until(client, done, "a.b")
    async with asyncio.timeout(5):
        while not (letters := await client.history.dead_letters(subscription="s")):
            await asyncio.sleep(0.01)
    assert attempts == [1, 2]
    assert letters[0]["error"] == "ValueError: no such account"


async def test_a_handler_may_settle_by_itself(client: EventRouterClient) -> None:
    done = asyncio.Event()

    @client.on("a.*", name="s")
    async def handle(delivery: Delivery) -> None:
        if delivery.event.type == "a.bad":
            await delivery.reject("never")
        else:
            done.set()

    await run_until(client, done, "a.bad", "a.good")
    async with asyncio.timeout(5):
        while not (letters := await client.history.dead_letters()):
            await asyncio.sleep(0.01)
    assert [letter["error"] for letter in letters] == ["never"]


async def test_no_more_calls_at_once_than_allowed(client: EventRouterClient) -> None:
    under_way, most, count = 0, 0, 0
    three, done = asyncio.Event(), asyncio.Event()

    @client.on("a.*", name="s", concurrency=3)
    async def handle(_: Delivery) -> None:
        nonlocal under_way, most, count
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            three.set()
        await three.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        count += 1
        if count == 12:
            done.set()

    await run_until(client, done, *["a.any"] * 12)
    assert most == 3


async def test_what_keeps_a_subscription_from_opening_is_raised(client: EventRouterClient) -> None:
    @client.on("a.*", name="fine")
    @client.on("b.*", name="bad", where={"payload.x": {"$nonsense": 1}})
    async def handle(_: Delivery) -> None: ...

    with pytest.raises(InvalidInput) as caught:
        await client.run()
    assert (caught.value.field or "").startswith("filter")


async def test_running_without_handlers_is_an_error(client: EventRouterClient) -> None:
    with pytest.raises(InvalidInput):
        await client.run()
    with pytest.raises(InvalidInput):
        client.on("a.*", concurrency=0)
