"""Consumers that do not do as they should: each has a bound, is counted, and is said once in the log."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import LogCapture

from router_node.edges.conduct import TOLD, Conduct, Fault
from router_node.node import embedded
from stores.ports import NO_FILTER
from tests.edges.served import Link, Served, served
from tests.support.signals import wait_for


@asynccontextmanager
async def router(**limits: Any) -> AsyncIterator[Served]:
    async with embedded() as running, served(running.engine, running.management, **limits) as server:
        yield server


@pytest.fixture
def said() -> Any:
    """What is logged, by its text."""
    capture = LogCapture()
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.configure(processors=before)


def counts(node: Served) -> dict[str, int]:
    return {str(fault): count for fault, count in node.app.connections.conduct.counts.items()}


def lines(said: list[Any], fault: Fault) -> int:
    return sum(entry["event"] == TOLD[fault] for entry in said)


async def subscribe(link: Link, name: str, credit: int = 100, **more: Any) -> None:
    answer = await link.ask(op="subscribe", name=name, topics=["a.>"], credit=credit, **more)
    assert answer["op"] == "subscribed", answer


async def publish(node: Served, *ids: str) -> None:
    for result in await node.engine.publish([{"type": "a.b", "id": each} for each in ids]):
        assert not isinstance(result, Exception)


@contextmanager
def unread() -> Iterator[socket.socket]:
    """A socket that takes next to nothing until it is read."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield raw


async def connect(raw: socket.socket, node: Served) -> None:
    await asyncio.to_thread(raw.connect, ("127.0.0.1", node.port))


@asynccontextmanager
async def unread_link(node: Served, *, credit: int) -> AsyncIterator[None]:
    """A WebSocket that has subscribed to everything and reads no more."""
    with unread() as raw:
        await connect(raw, node)
        raw.sendall(
            b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await asyncio.to_thread(raw.recv, 20)).startswith(b"HTTP/1.1 101")
        for frame in (
            b'{"op":"hello","version":1}',
            b'{"op":"subscribe","ref":1,"name":"late","topics":["a.>"],"credit":%d}' % credit,
        ):
            raw.sendall(bytes([0x81, 0x80 | len(frame), 0, 0, 0, 0]) + frame)

        async def subscribed() -> bool:
            return [each["consumers"] for each in await node.management.subscriptions()] == [1]

        await wait_for(subscribed, 5, "it is subscribed")
        yield


GARBAGE: dict[str, str | bytes] = {
    "no JSON": "this is no frame",
    "no object": "[1, 2, 3]",
    "no operation": '{"ref": 1}',
    "an unknown operation": '{"op": "explode"}',
    "a wrong type": '{"op": "credit", "name": 5, "add": "many"}',
    "negative credit": '{"op": "credit", "name": "late", "add": -5}',
    "bytes": b"\x00\x01\x02",
    "deep nesting": '{"op":' + "[" * 5000,
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_is_named_counted_and_said_once(kind: str, said: list[Any]) -> None:
    async with router() as node, node.link() as link:
        await subscribe(link, "late")
        for _ in range(3):
            await link.raw(GARBAGE[kind])
            assert (await link.next())["op"] == "error"
        assert (await link.ask(op="ping"))["op"] == "pong", "the connection goes on"
        assert counts(node) == {"bad_frames": 3}
    assert lines(said, Fault.BAD_FRAMES) == 1


async def test_who_sends_nothing_but_garbage_is_let_go(said: list[Any]) -> None:
    async with router(max_bad_frames=20) as node, node.link() as link:
        for _ in range(20):
            await link.raw("garbage")
        async with asyncio.timeout(10):
            while link.connection.close_code is None:
                await link.next_or_end()
        assert link.connection.close_code == 4009
        assert counts(node) == {"bad_frames": 20}
    assert lines(said, Fault.BAD_FRAMES) == 1


async def test_acking_twice_changes_nothing_and_is_counted(said: list[Any]) -> None:
    async with router() as node, node.link() as link:
        await subscribe(link, "late")
        await publish(node, "e1")
        (delivery,) = await link.deliveries(1)
        for _ in range(2):
            await link.send(op="settle", ack=[delivery["delivery_id"]])
        answer = await link.next()
        assert answer["unknown"] == [delivery["delivery_id"]]
        assert (await node.management.subscriptions())[0]["backlog"] == 0
        assert counts(node) == {"unknown_deliveries": 1}
    assert lines(said, Fault.UNKNOWN_DELIVERIES) == 1


async def test_acking_anothers_delivery_leaves_it_with_its_consumer() -> None:
    async with router() as node, node.link() as one, node.link() as two:
        await subscribe(one, "late", credit=1)
        await publish(node, "e1")
        (delivery,) = await one.deliveries(1)
        await subscribe(two, "late", credit=1)
        answer = await two.ask(op="settle", ack=[delivery["delivery_id"]])
        assert answer["unknown"] == [delivery["delivery_id"]]
        (found,) = await node.management.subscriptions()
        assert (found["backlog"], found["in_flight"]) == (1, 1)
        assert counts(node) == {"unknown_deliveries": 1}


async def test_a_million_credits_are_no_more_than_may_be_in_flight() -> None:
    async with router() as node, node.link() as link:
        asked = {"op": "subscribe", "name": "late", "topics": ["a.>"]}
        assert (await link.ask(**asked, credit=1_000_000))["error"]["field"] == "credit"
        await subscribe(link, "late", credit=10_000, max_in_flight=5)
        for _ in range(3):
            await link.send(op="credit", name="late", add=10_000)
        await publish(node, *[f"e{n}" for n in range(50)])
        assert len(await link.deliveries(5)) == 5
        assert (await link.ask(op="ping"))["op"] == "pong", "nothing more came before the answer"
        (found,) = await node.management.subscriptions()
        assert found["in_flight"] == 5


async def test_one_that_never_acks_is_tried_again_and_then_given_up() -> None:
    async with router() as node, node.link() as link:
        retry = {"max_attempts": 2, "base_s": 0.05, "jitter": 0}
        await subscribe(link, "late", ack_timeout_s=0.1, retry=retry)
        await publish(node, "e1")
        attempts = [(await link.deliveries(1))[0]["attempt"] for _ in range(2)]
        assert attempts == [1, 2]

        async def buried() -> bool:
            page = await node.management.letters.page(NO_FILTER, 10, None)
            return [letter.error for letter in page.letters] == ["no acknowledgement within 0.1 s"]

        await wait_for(buried, 10, "it is a dead letter")


async def test_one_that_is_cut_off_in_the_middle_of_a_frame_leaves_its_deliveries_to_the_next() -> None:
    async with router() as node, node.link() as link:
        await subscribe(link, "late")
        await publish(node, "e1", "e2")
        assert len(await link.deliveries(2)) == 2
        transport = link.connection.transport
        transport.write(b"\x81\xfe\x00")  # the beginning of a frame
        transport.abort()
        async with node.link() as other:
            await subscribe(other, "late")
            again = await other.deliveries(2)
        assert sorted(each["event"]["id"] for each in again) == ["e1", "e2"]


async def test_one_that_says_nothing_after_connecting_is_let_go(said: list[Any]) -> None:
    async with router(hello_timeout_s=0.1) as node, node.link(greet=False) as link:
        async with asyncio.timeout(10):
            while link.connection.close_code is None:
                await link.next_or_end()
        assert counts(node) == {"no_hello": 1}
    assert lines(said, Fault.NO_HELLO) == 1


async def test_one_that_reads_slowly_holds_no_more_than_its_credit() -> None:
    async with router() as node, unread_link(node, credit=10):
        events = [{"type": "a.b", "payload": {"text": "x" * 100_000}} for _ in range(200)]
        await node.engine.publish(events)

        async def held() -> bool:
            (found,) = await node.management.subscriptions()
            return bool(found["in_flight"] == 10)

        await wait_for(held, 5, "its credit is used up")
        async with node.link() as other:
            await subscribe(other, "quick")
            await publish(node, "after")
            assert (await other.deliveries(1))[0]["event"]["id"] == "after", "others are served"


@pytest.mark.parametrize(
    ("limits", "fault"),
    [({"ping_s": 0.2}, Fault.VANISHED), ({"unread_s": 0.5}, Fault.SLOW_READERS)],
    ids=["its pings are not answered", "the system finds nothing read"],
)
async def test_one_that_reads_nothing_is_let_go_and_its_deliveries_with_it(
    limits: dict[str, float], fault: Fault, said: list[Any]
) -> None:
    async with router(**limits) as node, unread_link(node, credit=100):
        await node.engine.publish([{"type": "a.b", "payload": {"text": "x" * 100_000}} for _ in range(100)])
        await wait_for(lambda: not len(node.app.connections), 20, "it is let go, though it never closed")
        (found,) = await node.management.subscriptions()
        assert (found["consumers"], found["in_flight"], found["backlog"]) == (0, 0, 100)
        assert counts(node) == {str(fault): 1}
    assert lines(said, fault) == 1


async def test_an_answer_that_nobody_reads_is_not_kept(said: list[Any]) -> None:
    async with router(unread_s=0.5) as node:
        await node.management.put_subscription("late", {"topics": ["a.>"], "ordering": "none"})
        await node.engine.publish([{"type": "a.b", "payload": {"text": "x" * 100_000}} for _ in range(100)])
        with unread() as raw:
            await connect(raw, node)
            raw.sendall(b"POST /v1/subscriptions/late/pull HTTP/1.1\r\nHost: x\r\n")
            raw.sendall(b'Content-Length: 12\r\n\r\n{"wait_s":5}')
            await wait_for(lambda: counts(node) == {"slow_readers": 1}, 20, "the connection is broken off")
    assert lines(said, Fault.SLOW_READERS) == 1


@pytest.mark.parametrize(
    "message",
    [b"\x81\xff" + (2**40).to_bytes(8) + bytes(4), b"\x81\x82\0\0\0\0\xff\xff", b"\x81\x02{}"],
    ids=["a terabyte", "not UTF-8", "not masked"],
)
async def test_what_is_no_message_ends_the_connection_and_is_counted(message: bytes, said: list[Any]) -> None:
    async with router() as node, node.link() as link:
        link.connection.transport.write(message)
        async with asyncio.timeout(10):
            await link.connection.wait_closed()
        await wait_for(lambda: not len(node.app.connections), 5, "it is over")
        assert counts(node) == {"bad_frames": 1}
    assert lines(said, Fault.BAD_FRAMES) == 1


async def test_the_log_says_who_it_was(said: list[Any]) -> None:
    async with router() as node, node.link() as link:
        await link.raw("garbage")
        assert (await link.next())["op"] == "error"
        host, port = link.connection.local_address[:2]
    assert [entry["client"] for entry in said if entry["event"] == TOLD[Fault.BAD_FRAMES]] == [f"{host}:{port}"]


async def test_bad_settlements_over_http_are_all_counted_and_said_once_a_minute(said: list[Any]) -> None:
    async with router() as node, aiohttp.ClientSession(node.url) as http:
        await node.management.put_subscription("late", {"topics": ["a.>"]})
        for _ in range(20):
            async with http.post("/v1/subscriptions/late/settle", json={"ack": ["1.2.3", "x"]}) as answer:
                assert (await answer.json())["unknown"] == ["1.2.3", "x"]
        assert counts(node) == {"unknown_deliveries": 40}
    assert lines(said, Fault.UNKNOWN_DELIVERIES) == 1


def test_a_fault_that_goes_on_is_said_again_with_how_often_it_was_not(said: list[Any]) -> None:
    times = [0.0, 1.0, 59.0, 61.0]
    conduct = Conduct(iter(times).__next__)
    for _ in times:
        conduct.passing(Fault.REFUSED_CONNECTIONS)
    assert [entry["not_said_before"] for entry in said] == [0, 2]
    assert conduct.counts == {Fault.REFUSED_CONNECTIONS: 4}


async def test_opening_subscriptions_without_end_is_bounded_and_leaves_nothing(said: list[Any]) -> None:
    async with router(max_subscriptions_per_connection=50) as node:
        async with node.link() as link:
            answers = [await link.ask(op="subscribe", topics=["a.>"], durable=False) for _ in range(60)]
            assert [answer["op"] for answer in answers] == ["subscribed"] * 50 + ["error"] * 10
            assert answers[-1]["error"]["code"] == "too_large"
            assert len(await node.management.subscriptions()) == 50
            assert counts(node) == {"bad_frames": 10}
        await wait_for(lambda: not len(node.app.connections), 5, "it is over")
        assert await node.management.subscriptions() == []
    assert lines(said, Fault.BAD_FRAMES) == 1


async def test_subscribing_and_leaving_in_a_loop_leaves_nothing_and_holds_up_nobody() -> None:
    async with router() as node, node.link() as link, node.link() as other:
        await subscribe(other, "quick")
        for n in range(300):
            name = (await link.ask(op="subscribe", topics=["a.>"], durable=False))["name"]
            assert (await link.ask(op="unsubscribe", name=name))["op"] == "unsubscribed"
            if n % 100 == 0:
                await publish(node, f"e{n}")
                assert (await other.deliveries(1))[0]["event"]["id"] == f"e{n}"
        assert [each["name"] for each in await node.management.subscriptions()] == ["quick"]
        assert counts(node) == {}


async def test_refused_connections_are_counted_and_said_once(said: list[Any]) -> None:
    async with router(max_connections=1) as node, node.link():
        for _ in range(3):
            with pytest.raises(Exception, match="HTTP 429"):
                async with node.link():
                    pass
        assert counts(node) == {"refused_connections": 3}
    assert lines(said, Fault.REFUSED_CONNECTIONS) == 1
