"""One suite for every transport with a connection to lose: what a publish does while there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router_client import (
    Backoff,
    ClientOptions,
    ClosedError,
    ConnectionLost,
    EventRouterClient,
    Overloaded,
    PublishResult,
)
from tests.router_client.served_node import served
from tests.support.fault_proxy import FaultProxy
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(30)

BACKOFF = Backoff(base_s=0.01, max_s=0.05)


class Line:
    """What is between a client and its router, and the URL for it."""

    def __init__(self, proxy: FaultProxy, scheme: str) -> None:
        self._proxy = proxy
        self.url = f"{scheme}://127.0.0.1:{proxy.port}"

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._proxy.refuse()
        self._proxy.drop_connections()

    async def mend(self) -> None:
        """Take connections again."""
        await self._proxy.accept()


@pytest.fixture(params=["ws", "http", "redis"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    if request.param == "redis":
        redis_url: str = request.getfixturevalue("redis_url")
        async with (
            served(redis_url=redis_url, partitions=8, listen=f"127.0.0.1:{free_port()}"),
            FaultProxy("127.0.0.1", int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy,
        ):
            yield Line(proxy, "redis")
    else:
        async with served() as address, FaultProxy("127.0.0.1", int(address.rpartition(":")[2])) as proxy:
            yield Line(proxy, request.param)


def options(**more: Any) -> ClientOptions:
    return ClientOptions(backoff=BACKOFF, connect_timeout_s=1, **more)


async def test_what_is_published_meanwhile_waits_and_is_accepted_in_order(line: Line) -> None:
    async with EventRouterClient(line.url, options=options()) as client:
        await client.publish("a.b", id="before", correlation_id="key")
        line.cut()
        events = [{"type": "a.b", "id": f"{n}", "correlation_id": "key"} for n in range(60)]
        sending = asyncio.create_task(client.publish_many(events, batch=5))
        await asyncio.wait([sending], timeout=0.2)
        assert not sending.done()
        await line.mend()
        async with asyncio.timeout(10):
            outcomes = await sending
        assert [outcome.id for outcome in outcomes if isinstance(outcome, PublishResult)] == [e["id"] for e in events]
        async with asyncio.timeout(10):
            while len((await client.history.page(correlation_id="key", limit=100)).events) < 61:
                await asyncio.sleep(0.01)
        stored = await client.history.page(correlation_id="key", order="asc", limit=100)
        assert [event.id for event in stored.events] == ["before", *(e["id"] for e in events)]


async def test_it_fails_at_once_when_told_to_and_works_again_afterwards(line: Line) -> None:
    async with EventRouterClient(line.url, options=options(while_disconnected="fail")) as client:
        await client.publish("a.b")
        line.cut()
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(ConnectionLost):
                await client.publish("a.b", id="refused")
            assert time.monotonic() - began < 1
        await line.mend()
        async with asyncio.timeout(10):
            while True:
                try:
                    await client.publish("a.b", id="after")
                    break
                except ConnectionLost:
                    await asyncio.sleep(0.01)


async def test_no_more_wait_than_may(line: Line) -> None:
    async with EventRouterClient(line.url, options=options(publish_buffer=3)) as client:
        await client.publish("a.b")
        line.cut()
        waiting = [asyncio.create_task(client.publish("a.b", id=f"{n}")) for n in range(3)]
        async with asyncio.timeout(10):
            while not await refused_for_want_of_room(client):
                pass
        assert not any(task.done() for task in waiting)
        await line.mend()
        async with asyncio.timeout(10):
            assert [result.id for result in await asyncio.gather(*waiting)] == ["0", "1", "2"]


async def refused_for_want_of_room(client: EventRouterClient) -> bool:
    """Tell whether one publish more is refused; before the client has noticed the cut, it waits for room."""
    try:
        async with asyncio.timeout(0.05):
            await client.publish("a.b", id="one too many")
    except Overloaded:
        return True
    except TimeoutError:
        return False
    raise AssertionError("it was accepted")


async def test_none_waits_longer_than_it_may(line: Line) -> None:
    async with EventRouterClient(line.url, options=options(publish_timeout_s=0.3)) as client:
        await client.publish("a.b")
        line.cut()
        began = time.monotonic()
        with pytest.raises(ConnectionLost):
            await client.publish("a.b", id="late")
        assert 0.25 < time.monotonic() - began < 3
        await line.mend()
        async with asyncio.timeout(10):
            while not await accepted(client):
                await asyncio.sleep(0.01)


async def accepted(client: EventRouterClient) -> bool:
    try:
        await client.publish("a.b", id="late")
    except ConnectionLost:
        return False
    return True


async def test_all_that_waits_fails_when_the_client_gives_up(line: Line) -> None:
    async with EventRouterClient(line.url, options=options(max_reconnect_s=0.3)) as client:
        await client.publish("a.b")
        line.cut()
        waiting = [asyncio.create_task(client.publish("a.b", id=f"{n}")) for n in range(3)]
        async with asyncio.timeout(10):
            found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in found] == [ConnectionLost] * 3


async def test_leaving_ends_what_waits_in_a_bounded_time(line: Line) -> None:
    async with asyncio.timeout(10):
        async with EventRouterClient(line.url, options=options(close_timeout_s=0.2)) as client:
            await client.publish("a.b")
            line.cut()
            waiting = asyncio.create_task(client.publish("a.b", id="waiting"))
            await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await waiting
