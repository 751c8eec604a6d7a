"""The WebSocket transport against a router that says what the test wants, at the moments the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router_client import (
    Backoff,
    ClientOptions,
    ClosedError,
    Conflict,
    ConnectionLost,
    EventRouterClient,
    InvalidInput,
    NotFound,
    Overloaded,
    PublishResult,
)
from router_client.transports.websocket import WebSocketTransport
from tests.router_client.scripted_router import ScriptedRouter

FAST = Backoff(base_s=0.01, max_s=0.05)


def options(**changes: object) -> ClientOptions:
    return ClientOptions(**{"backoff": FAST, "close_timeout_s": 0.3, **changes})  # type: ignore[arg-type]


@pytest.fixture
async def router() -> AsyncIterator[ScriptedRouter]:
    async with ScriptedRouter() as router:
        yield router


async def test_the_greeting_carries_version_and_token(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, token="secret", options=options()):
        assert (await router.connected()).hello == {"op": "hello", "version": 1, "token": "secret"}


async def test_a_router_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(ConnectionLost):
        await EventRouterClient("ws://127.0.0.1:9", options=options()).__aenter__()


async def test_a_router_that_never_greets_is_an_error_in_time() -> None:
    async with ScriptedRouter(greet=False) as router:
        with pytest.raises(ConnectionLost):
            await EventRouterClient(router.url, options=options(connect_timeout_s=0.1)).__aenter__()


async def test_publishes_are_pipelined_and_answered_in_any_order(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client, asyncio.TaskGroup() as tasks:
        link = await router.connected()
        calls = [tasks.create_task(client.publish("a.b", {"n": n}, id=f"e{n}")) for n in range(3)]
        frames = [await link.next("publish") for _ in calls]
        for frame in reversed(frames):
            await link.confirm(frame)
        assert [(await call).id for call in calls] == ["e0", "e1", "e2"]


async def test_unanswered_publishes_are_sent_again_with_the_same_ids(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client, asyncio.TaskGroup() as tasks:
        first = await router.connected()
        calls = [tasks.create_task(client.publish("a.b", {"n": n})) for n in range(3)]
        before = [await first.next("publish") for _ in calls]
        await first.confirm(before[1])
        await calls[1]
        first.drop()
        second = await router.connected()
        again = [await second.next("publish") for _ in range(2)]
        assert again == [before[0], before[2]]
        for frame in again:
            await second.confirm(frame)


async def test_publishing_without_a_connection_waits_for_the_next(router: ScriptedRouter) -> None:
    patient = options(backoff=Backoff(base_s=0.2, max_s=0.2), publish_buffer=2)
    async with EventRouterClient(router.url, options=patient) as client:
        transport = client._open_transport()
        assert isinstance(transport, WebSocketTransport)
        (await router.connected()).drop()
        await disconnected(transport)
        calls = [asyncio.create_task(client.publish("a.b", id=f"e{n}")) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await client.publish("a.b")
        link = await router.connected()
        for _ in calls:
            await link.confirm(await link.next("publish"))
        assert [(await call).id for call in calls] == ["e0", "e1"]


async def test_publishing_without_a_connection_can_fail_at_once(router: ScriptedRouter) -> None:
    hasty = options(while_disconnected="fail", backoff=Backoff(base_s=60, max_s=60))
    async with EventRouterClient(router.url, options=hasty) as client:
        link = await router.connected()
        under_way = asyncio.create_task(client.publish("a.b"))
        await link.next("publish")
        link.drop()
        with pytest.raises(ConnectionLost):
            await under_way
        with pytest.raises(ConnectionLost, match="not connected"):
            await client.publish("a.b")


async def test_a_publish_that_gets_no_answer_ends_in_time(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options(publish_timeout_s=0.05)) as client:
        with pytest.raises(ConnectionLost, match="no answer"):
            await client.publish("a.b")


async def test_a_cancelled_publish_leaves_the_connection_sound(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        cancelled = asyncio.create_task(client.publish("a.b", id="first"))
        frame = await link.next("publish")
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await link.confirm(frame)
        call = asyncio.create_task(client.publish("a.b", id="second"))
        await link.confirm(await link.next("publish"))
        assert await call == PublishResult("second", 0, False)


async def test_what_the_router_refuses_is_raised_with_its_class_and_field(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        call = asyncio.create_task(client.publish("a.b"))
        frame = await link.next("publish")
        await link.send("published", ref=frame["ref"], results=[{"error": InvalidInput("no", field="type").problem()}])
        with pytest.raises(InvalidInput) as caught:
            await call
        assert caught.value.field == "type"
        call = asyncio.create_task(client.publish("a.b"))
        frame = await link.next("publish")
        await link.send("error", ref=frame["ref"], error=Overloaded("full", retry_after_s=3).problem())
        with pytest.raises(Overloaded) as refused:
            await call
        assert refused.value.retry_after_s == 3


async def test_overloaded_parts_are_tried_again_when_asked_for(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options(retry_overloaded_s=5)) as client:
        link = await router.connected()
        call = asyncio.create_task(client.publish_many([{"type": "a.b", "id": name} for name in "abc"]))
        frame = await link.next("publish")
        full = {"error": Overloaded("full", retry_after_s=0.01).problem()}
        taken = {"id": "b", "partition": 1, "duplicate": False}
        await link.send("published", ref=frame["ref"], results=[full, taken, full])
        again = await link.next("publish")
        assert [event["id"] for event in again["events"]] == ["a", "c"]
        await link.confirm(again)
        assert await call == [PublishResult("a", 0, False), PublishResult("b", 1, False), PublishResult("c", 0, False)]


async def test_unknown_frames_are_ignored_and_nonsense_is_a_lost_connection(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        await link.send("fanfare", volume=11)
        call = asyncio.create_task(client.publish("a.b", id="x"))
        await link.next("publish")
        await link.send_text('{"op":"published"}')
        link = await router.connected()
        await link.confirm(await link.next("publish"))
        assert (await call).id == "x"


async def test_frames_that_come_in_parts_are_put_together(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        calls = [asyncio.create_task(client.publish("a.b", id=event_id)) for event_id in ("x", "y")]
        frames = [await link.next("publish") for _ in calls]
        for frame, event_id in zip(frames, ("x", "y"), strict=True):
            answer = '{"op":"published","ref":%d,"results":[{"id":"%s","partition":0,"duplicate":false}]}'
            text = answer % (frame["ref"], event_id)
            await link.connection.send([text[:7], text[7:40], text[40:]])
        assert [(await call).id for call in calls] == ["x", "y"]


async def test_a_binary_message_is_a_lost_connection(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        await link.connection.send(b"\x00\x01")
        call = asyncio.create_task(client.publish("a.b", id="x"))
        link = await router.connected()
        await link.confirm(await link.next("publish"))
        assert (await call).id == "x"


async def test_more_than_the_system_takes_waits_for_it_and_comes_in_order(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        link.connection.transport.pause_reading()
        pad = "x" * 200_000
        calls = [asyncio.create_task(client.publish("a.b", {"n": n, "pad": pad}, id=str(n))) for n in range(50)]
        await asyncio.sleep(0)
        link.connection.transport.resume_reading()
        for n in range(50):
            frame = await link.next("publish")
            assert frame["events"][0]["payload"]["n"] == n
            await link.confirm(frame)
        assert [(await call).id for call in calls] == [str(n) for n in range(50)]


async def test_a_draining_node_is_left_for_another(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        before = asyncio.create_task(client.publish("a.b", id="x"))
        frame = await link.next("publish")
        await link.send("draining")
        await link.confirm(frame)
        assert (await before).id == "x"
        link = await router.connected()
        after = asyncio.create_task(client.publish("a.b", id="y"))
        await link.confirm(await link.next("publish"))
        assert (await after).id == "y"


async def test_giving_up_ends_everything_that_waits() -> None:
    hasty = options(max_reconnect_s=0.05, backoff=Backoff(base_s=0.2, max_s=0.2))
    async with ScriptedRouter() as router:
        client = await EventRouterClient(router.url, options=hasty).__aenter__()
        link = await router.connected()
        opened = client.subscribe("a.*", name="s")
        opening = asyncio.create_task(opened.__aenter__())
        await link.confirm(await link.next("subscribe"))
        deliveries = await opening
        publishing = asyncio.create_task(client.publish("a.b"))
        await link.next("publish")
    # The router is gone for good.
    with pytest.raises(ConnectionLost):
        await publishing
    with pytest.raises(ConnectionLost):
        await anext(deliveries)
    with pytest.raises(ConnectionLost):
        await client.publish("a.b")
    await client.__aexit__()


async def test_subscriptions_are_opened_again_and_stale_deliveries_forgotten(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client, asyncio.TaskGroup() as tasks:
        link = await router.connected()
        opened = client.subscription("s").topics("orders.*").credit(7).open()
        opening = tasks.create_task(opened.__aenter__())
        before = await link.next("subscribe")
        assert (before["name"], before["topics"], before["credit"], before["durable"]) == ("s", ["orders.*"], 7, True)
        await link.confirm(before)
        deliveries = await opening
        await link.deliver("s", "a", "b", "c")
        acked, held = await anext(deliveries), await anext(deliveries)
        link.drop()
        link = await router.connected()
        again = await link.next("subscribe")
        assert {**again, "ref": 0} == {**before, "ref": 0}
        await link.confirm(again)
        # Both belong to the lost connection: nothing of them may be sent on this one.
        await acked.ack()
        await held.nack("never mind")
        await link.deliver("s", "a", "b", "c", attempt=2)
        second = await anext(deliveries)
        assert (second.event.id, second.attempt, deliveries.duplicates) == ("b", 2, 1)
        await second.ack()
        assert (await link.next("settle"))["ack"] == ["d-a-2"]
        assert (await link.next("settle"))["ack"] == ["d-b-2"]
        leaving = tasks.create_task(opened.__aexit__(None, None, None))
        await link.confirm(await link.next("unsubscribe"))
        await leaving


async def test_acks_of_one_turn_go_out_together_and_give_credit_back(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client, asyncio.TaskGroup() as tasks:
        link = await router.connected()
        opened = client.subscribe("orders.*", name="s", credit=4)
        opening = tasks.create_task(opened.__aenter__())
        await link.confirm(await link.next("subscribe"))
        deliveries = await opening
        await link.deliver("s", "a", "b", "c", "d")
        for delivery in await deliveries.batch():
            match delivery.event.id:
                case "a":
                    await delivery.ack()
                    await delivery.nack("too late, it is settled")
                case "b":
                    await delivery.nack("broken", delay_s=2)
                case "c":
                    await delivery.reject("hopeless")
                case "d":
                    await delivery.extend()
        assert await link.next("settle") == {
            "op": "settle",
            "ack": ["d-a-1"],
            "nack": [{"delivery_id": "d-b-1", "delay_s": 2, "error": "broken"}],
            "reject": [{"delivery_id": "d-c-1", "error": "hopeless"}],
            "extend": ["d-d-1"],
            "credit": {"s": 3},
        }
        leaving = tasks.create_task(opened.__aexit__(None, None, None))
        await link.confirm(await link.next("unsubscribe"))
        await leaving


async def test_a_refused_subscription_can_be_opened_again(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client, asyncio.TaskGroup() as tasks:
        link = await router.connected()
        opening = tasks.create_task(refused(client))
        frame = await link.next("subscribe")
        await link.send("error", ref=frame["ref"], error=InvalidInput("unknown operator", field="filter").problem())
        assert (await opening).field == "filter"
        opening = tasks.create_task(refused(client))
        frame = await link.next("subscribe")
        with pytest.raises(Conflict):
            await client.subscribe("a.*", name="s").__aenter__()
        await link.send("error", ref=frame["ref"], error=InvalidInput("unknown operator", field="filter").problem())
        await opening


async def test_a_deleted_subscription_ends_the_iteration_with_its_reason(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        opened = client.subscribe("a.*", name="s")
        opening = asyncio.create_task(opened.__aenter__())
        await link.confirm(await link.next("subscribe"))
        deliveries = await opening
        await link.send("error", name="s", error=NotFound("deleted", field="name").problem())
        with pytest.raises(NotFound):
            await anext(deliveries)


async def test_leaving_the_client_ends_iteration_and_later_calls(router: ScriptedRouter) -> None:
    async with EventRouterClient(router.url, options=options()) as client:
        link = await router.connected()
        opened = client.subscribe("a.*", name="s")
        opening = asyncio.create_task(opened.__aenter__())
        await link.confirm(await link.next("subscribe"))
        deliveries = await opening
    assert [delivery async for delivery in deliveries] == []
    with pytest.raises(ClosedError):
        await client.publish("a.b")


async def test_leaving_waits_for_publishes_under_way(router: ScriptedRouter) -> None:
    client = await EventRouterClient(router.url, options=options(close_timeout_s=5)).__aenter__()
    link = await router.connected()
    call = asyncio.create_task(client.publish("a.b", id="x"))
    frame = await link.next("publish")
    leaving = asyncio.create_task(client.__aexit__())
    await asyncio.sleep(0)
    assert not leaving.done()
    await link.confirm(frame)
    assert (await call).id == "x"
    await leaving


async def refused(client: EventRouterClient) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await client.subscribe("a.*", name="s").__aenter__()
    return caught.value


async def disconnected(transport: WebSocketTransport) -> None:
    async with asyncio.timeout(5):
        while transport._link is not None:
            await asyncio.sleep(0)
