"""Events with a time to come, through a whole embedded node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from router_client.errors import EventRouterError, InvalidInput
from router_client.spec import SubscriptionSpec
from router_node.contract import Delivery, Published, Settlement
from router_node.node import Node, embedded
from stores.ports import EventQuery
from tests.support.signals import wait_for


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def event(n: int, **members: Any) -> dict[str, Any]:
    return {"type": "a.b", "correlation_id": "k", "payload": {"n": n}, **members}


async def stored(node: Node) -> int:
    return len((await node.management.events(EventQuery())).events)


class Taker:
    """A consumer that acknowledges what it gets."""

    def __init__(self, node: Node) -> None:
        self.got: list[tuple[int, datetime]] = []
        self._more = asyncio.Event()
        spec = SubscriptionSpec(name="late", topics=("a.>",))
        node.pipeline.registry.put(spec)
        self._attachment = node.engine.attach("late", self, 1000)

    def push(self, deliveries: list[Delivery]) -> None:
        self.got += [(orjson.loads(each.body)["payload"]["n"], datetime.now(UTC)) for each in deliveries]
        ids = [each.delivery_id for each in deliveries]
        asyncio.get_running_loop().call_soon(lambda: self._acked(ids))

    def _acked(self, ids: list[str]) -> None:
        self._attachment.settle(Settlement(ack=ids))
        self._attachment.add_credit(len(ids))
        self._more.set()

    def ended(self, error: EventRouterError) -> None:
        self.error = error

    async def has(self, count: int) -> list[int]:
        async with asyncio.timeout(15):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()
        return [n for n, _ in self.got]


async def test_an_event_is_stored_at_once_and_delivered_when_it_is_due() -> None:
    async with embedded() as node:
        taker = Taker(node)
        due = datetime.now(UTC) + timedelta(seconds=0.7)
        await node.engine.publish([event(1, deliver_at=due.isoformat()), event(2)])

        assert await taker.has(1) == [2], "what is not scheduled does not wait, not even for its own key"
        await wait_for(lambda: _is(stored(node), 2), 10, "both are stored")
        assert datetime.now(UTC) < due
        assert await taker.has(2) == [2, 1]
        assert timedelta(milliseconds=-60) <= taker.got[1][1] - due < timedelta(seconds=0.5)
        assert await stored(node) == 2, "its way through the schedule stored nothing twice"
        assert (node.pipeline.scheduler.scheduled, node.pipeline.scheduler.became_due) == (1, 1)


async def _is(found: Awaitable[int], wanted: int) -> bool:
    return await found == wanted


async def test_a_time_that_has_passed_is_now() -> None:
    async with embedded() as node:
        taker = Taker(node)
        await node.engine.publish([event(1, deliver_at=in_s(-86_400 * 400))])
        assert await taker.has(1) == [1]
        assert node.pipeline.scheduler.scheduled == 0


async def test_many_due_at_the_same_moment_all_come_in_order() -> None:
    async with embedded() as node:
        taker = Taker(node)
        due = in_s(1.5)  # later than all are accepted; one accepted after it is no scheduled event
        await node.engine.publish([event(n, deliver_at=due) for n in range(1000)])
        assert in_s(0) < due, "all were accepted before it"
        assert await taker.has(1000) == list(range(1000))


REFUSED = {
    "too far ahead": ({"deliver_at": in_s(31 * 86_400)}, "deliver_at"),
    "expired already": ({"expires_at": in_s(-1)}, "expires_at"),
    "expires before it is due": ({"deliver_at": in_s(5000), "expires_at": in_s(4000)}, "expires_at"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_times_that_make_no_sense_are_refused_by_name(case: str) -> None:
    members, field = REFUSED[case]
    async with embedded() as node:
        (answer,) = await node.engine.publish([event(1, **members)])
    assert isinstance(answer, InvalidInput)
    assert answer.field == field


async def test_thirty_days_ahead_is_accepted() -> None:
    async with embedded() as node:
        (answer,) = await node.engine.publish([event(1, deliver_at=in_s(30 * 86_400 - 60))])
        assert isinstance(answer, Published)


async def test_a_scheduled_event_that_had_to_be_stored_survives_an_embedded_node(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/events.sqlite"
    async with embedded(url) as node:
        (answer,) = await node.engine.publish([event(1, deliver_at=in_s(1.5))], ack="stored")
        assert isinstance(answer, Published)
    async with embedded(url) as node:
        assert await Taker(node).has(1) == [1]
