"""What waits to be sent: its order, its bounds, its fairness."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
import pytest

from router_node.contract import Delivery
from router_node.edges.limits import Limits
from router_node.edges.websocket_outbox import TOGETHER_BYTES, Lot, Outbox


class Reader:
    """A client that reads as fast as it is let."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.may_read = asyncio.Event()
        self.may_read.set()

    @property
    def frames(self) -> list[str]:
        return [frame for written in self.writes for frame in written]

    @property
    def takes_more(self) -> bool:
        return self.may_read.is_set()

    async def room(self) -> None:
        await self.may_read.wait()

    def send_all(self, frames: Iterable[bytes]) -> None:
        self.writes.append([frame.decode() for frame in frames])


@pytest.fixture
async def reader() -> Reader:
    return Reader()


def opened(name: str) -> Lot:
    lot = Lot(name, "k.")
    lot.held = False
    return lot


def deliveries(*bodies: bytes) -> list[Delivery]:
    return [Delivery(f"1.0.{n}", 1, body) for n, body in enumerate(bodies)]


async def flushed(outbox: Outbox, reader: Reader) -> list[str]:
    running = asyncio.create_task(outbox.run())
    async with asyncio.timeout(5):
        await outbox.flushed()
    running.cancel()
    await asyncio.wait([running])
    return reader.frames


async def test_frames_go_out_in_order_and_deliveries_join_while_they_wait(reader: Reader) -> None:
    outbox, lot = Outbox(Limits(), reader, lambda: None), opened("late")
    outbox.put(b"first")
    for body in (b'{"n":1}', b'{"n":2}'):
        lot.add(deliveries(body))
        outbox.put_lot(lot)
    outbox.put(b"last")
    first, delivered, last = await flushed(outbox, reader)
    assert (first, last) == ("first", "last")
    assert [each["event"] for each in orjson.loads(delivered)["deliveries"]] == [{"n": 1}, {"n": 2}]


async def test_deliveries_wait_until_the_client_knows_of_its_subscription(reader: Reader) -> None:
    outbox, lot = Outbox(Limits(), reader, lambda: None), Lot("late", "k.")
    lot.add(deliveries(b"{}"))
    outbox.put_lot(lot)
    outbox.put(b"subscribed")
    lot.held = False
    outbox.put_lot(lot)
    frames = await flushed(outbox, reader)
    assert frames[0] == "subscribed"
    assert orjson.loads(frames[1])["deliveries"] == [{"delivery_id": "k.1.0.0", "attempt": 1, "event": {}}]


async def test_a_frame_of_deliveries_is_bounded_and_subscriptions_take_turns(reader: Reader) -> None:
    outbox = Outbox(Limits(max_frame_bytes=1000), reader, lambda: None)
    big = b'{"x":"' + b"y" * 600 + b'"}'
    huge = b'{"x":"' + b"y" * 6000 + b'"}'
    one, two = opened("one"), opened("two")
    for lot in (one, two):
        lot.add(deliveries(big, big, huge))
        outbox.put_lot(lot)
    frames = [orjson.loads(frame) for frame in await flushed(outbox, reader)]
    assert [frame["name"] for frame in frames] == ["one", "two"] * 3
    assert [len(frame["deliveries"]) for frame in frames] == [1] * 6


async def test_what_is_put_in_one_turn_is_written_at_once_and_what_is_much_is_not(reader: Reader) -> None:
    outbox = Outbox(Limits(), reader, lambda: None)
    for size in (1, 2, TOGETHER_BYTES, 3, 4):
        outbox.put(b"x" * size)
    assert not reader.writes
    await flushed(outbox, reader)
    assert [[len(frame) for frame in written] for written in reader.writes] == [[1, 2, TOGETHER_BYTES], [3, 4]]


async def test_what_was_let_go_is_not_sent(reader: Reader) -> None:
    outbox, lot = Outbox(Limits(), reader, lambda: None), opened("late")
    lot.add(deliveries(b"{}"))
    outbox.put_lot(lot)
    lot.clear()
    outbox.put(b"unsubscribed")
    assert await flushed(outbox, reader) == ["unsubscribed"]


async def test_a_slow_reader_is_asked_nothing_more_and_then_given_up(reader: Reader) -> None:
    given_up: list[bool] = []
    outbox = Outbox(Limits(max_waiting_frames=3, max_outbound_frames=6), reader, lambda: given_up.append(True))
    reader.may_read.clear()
    for _ in range(3):
        outbox.put(b"x")
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    for _ in range(3):
        outbox.put(b"x")
    assert not given_up
    outbox.put(b"one too many")
    assert given_up
    reader.may_read.set()
    assert await flushed(outbox, reader) == ["x"] * 6
    await asyncio.wait_for(waiting, 5)
