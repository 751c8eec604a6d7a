"""The client and a real node, with a network between them that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router_client import Backoff, ClientOptions, ClosedError, Deliveries, EventRouterClient, PublishResult
from tests.router_client.served_node import served
from tests.support.fault_proxy import FaultProxy

pytestmark = pytest.mark.timeout(30)

OPTIONS = ClientOptions(
    backoff=Backoff(base_s=0.02, max_s=0.1), ping_interval_s=0.2, ping_timeout_s=0.2, connect_timeout_s=1
)
SCHEMES = pytest.mark.parametrize("scheme", ["ws", "http"])


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    async with served() as address:
        host, _, port = address.partition(":")
        async with FaultProxy(host, int(port)) as proxy:
            yield proxy


async def collect(deliveries: Deliveries, want: int) -> list[str]:
    """Ack deliveries until there are ``want`` different events; return the ids as they came."""
    seen: list[str] = []
    async with asyncio.timeout(15):
        while len(set(seen)) < want:
            delivery = await anext(deliveries)
            await delivery.ack()
            seen.append(delivery.event.id)
    return seen


@SCHEMES
async def test_nothing_published_or_delivered_is_lost_when_connections_break(scheme: str, proxy: FaultProxy) -> None:
    rounds, size = 6, 40
    async with (
        EventRouterClient(f"{scheme}://127.0.0.1:{proxy.port}", options=OPTIONS) as client,
        client.subscription("s").topics("a.*").ack_timeout(1).open() as deliveries,
    ):

        async def publish() -> list[object]:
            outcomes: list[object] = []
            for number in range(rounds):
                events = [{"type": "a.b", "id": f"{number}-{n}"} for n in range(size)]
                sending = asyncio.create_task(client.publish_many(events, batch=7))
                await asyncio.sleep(0)
                proxy.drop_connections()
                outcomes += await sending
            return outcomes

        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(publish())
            seen = await collect(deliveries, rounds * size)
        assert all(isinstance(outcome, PublishResult) for outcome in publishing.result())
        assert set(seen) == {f"{number}-{n}" for number in range(rounds) for n in range(size)}
        # What this subscription acked once is not handed out again, however often it is delivered.
        assert len(seen) == len(set(seen))


async def test_a_connection_that_went_silent_is_replaced(proxy: FaultProxy) -> None:
    async with EventRouterClient(f"ws://127.0.0.1:{proxy.port}", options=OPTIONS) as client:
        await client.publish("a.b", id="before")
        proxy.half_open()
        async with asyncio.timeout(10):
            assert (await client.publish("a.b", id="after")).id == "after"


async def test_keys_stay_in_order_through_reconnects(proxy: FaultProxy) -> None:
    async with (
        EventRouterClient(f"ws://127.0.0.1:{proxy.port}", options=OPTIONS) as client,
        client.subscription("s").topics("a.*").open() as deliveries,
    ):
        events = [{"type": "a.b", "id": f"{n}", "correlation_id": f"{n % 2}"} for n in range(200)]
        async with asyncio.TaskGroup() as tasks:
            collecting = tasks.create_task(collect(deliveries, 200))
            sending = tasks.create_task(client.publish_many(events, batch=10))
            for _ in range(3):
                await asyncio.sleep(0.02)
                proxy.drop_connections()
        assert len(sending.result()) == 200
        for key in range(2):
            mine = [int(event_id) for event_id in collecting.result() if int(event_id) % 2 == key]
            assert mine == list(range(key, 200, 2))


@SCHEMES
async def test_leaving_with_the_router_gone_takes_a_bounded_time(scheme: str, proxy: FaultProxy) -> None:
    options = ClientOptions(backoff=OPTIONS.backoff, close_timeout_s=0.3)
    async with asyncio.timeout(5):
        async with (
            EventRouterClient(f"{scheme}://127.0.0.1:{proxy.port}", options=options) as client,
            client.subscribe("a.*", name="s") as deliveries,
        ):
            await client.publish("a.b")
            delivery = await anext(deliveries)
            proxy.stall()
            waiting = asyncio.create_task(client.publish("a.b"))
            await asyncio.sleep(0)
            await delivery.ack()
        with pytest.raises(ClosedError):
            await waiting
    proxy.flow()
