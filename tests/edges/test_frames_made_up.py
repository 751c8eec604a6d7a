"""Conversations over WebSocket that are made up: right frames, wrong ones, and what is no frame at all, to a real node.

Whatever comes, every answer is a frame as /asyncapi.json describes it, nothing fails in the node, nothing is left of
the conversation, and the node serves the next one. The suite holds the same conversations every time;
``ER_FRAME_EXAMPLES=2000 python -m pytest tests/edges/test_frames_made_up.py`` looks further. What it has
found stays in test_websocket.py.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from router_node.edges import asyncapi
from router_node.edges.conduct import TOLD
from router_node.node import embedded
from tests.edges.described import checker
from tests.edges.served import Served, served
from tests.support.signals import wait_for

EXAMPLES = int(os.environ.get("ER_FRAME_EXAMPLES", "60"))
pytestmark = pytest.mark.timeout(120 + EXAMPLES)
DOCUMENT = asyncapi.document()
ANSWERS = {op: checker(DOCUMENT["components"]["messages"][op]["payload"], DOCUMENT) for op in asyncapi.NODE}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(["late", "", "a.>", "*", "\x00", "\ud800", "a" * 600, asyncapi.DELIVERY_ID]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)
RIGHT = st.sampled_from([frame.example for frame in asyncapi.CLIENT.values()])
MEMBERS = st.sampled_from(
    ["op", "ref", "name", "topics", "filter", "durable", "credit", "events", "ack", "nack", "reject", "extend", "add",
     "version", "token", "ordering", "max_in_flight", "buffer", "overflow", "destination", "retry", "unheard_of"]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A right frame of which some members, or some of what is in them, are something else, or are not there."""
    frame = copy.deepcopy(draw(RIGHT))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = frame
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if place is frame:
                keys.append(draw(MEMBERS))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place, dict) and key not in place:
                place[key] = draw(VALUES)
                break
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()):
                place[key] = draw(VALUES)
            else:
                del place[key]
            break
    return frame


def written(frame: object) -> str:
    return orjson.dumps(frame, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def text_of(value: object) -> str:
    """Write it as JSON, be it beyond what orjson writes."""
    try:
        return written(value)
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(value).encode("utf-8", "replace").decode()


MESSAGES = st.one_of(
    mutated().map(text_of),
    mutated().map(text_of),
    VALUES.map(text_of),
    st.tuples(mutated().map(text_of), st.integers(0, 60)).map(lambda both: both[0][: both[1]]),
    st.text(max_size=50).map(lambda text: text.encode("utf-8", "replace").decode()),
    st.binary(max_size=50),
    st.sampled_from(["[" * 2000, '{"op":' * 500, '{"op":"ping"}{"op":"ping"}', '{"op":"ping","op":"credit"}', ""]),
)


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES <= 60, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages=st.lists(MESSAGES, max_size=25), greeted=st.integers(0, 9), abrupt=st.booleans())
@example(messages=['{"op":"hello","version":1}'] * 3, greeted=1, abrupt=False)
def test_whatever_is_said_the_node_goes_on(messages: list[str | bytes], greeted: int, abrupt: bool) -> None:
    asyncio.run(_conversation(messages, bool(greeted), abrupt))


async def _conversation(messages: list[str | bytes], greeted: bool, abrupt: bool) -> None:
    async with embedded() as running, served(running.engine, running.management) as node:
        tasks = len(asyncio.all_tasks())
        with capture_logs() as logs:
            async with connect(f"ws://127.0.0.1:{node.port}/v1/ws", compression=None) as connection:
                hearing = asyncio.create_task(_hear(connection))
                with suppress(ConnectionClosed):
                    if greeted:
                        await connection.send('{"op":"hello","version":1}')
                    for message in messages:
                        await connection.send(message)
                    if not abrupt:
                        await connection.send('{"op":"ping","ref":"last"}')
                        await hearing
                if abrupt:
                    connection.transport.abort()
                await hearing
            await wait_for(lambda: _nothing_left(node, tasks), 10, "nothing is left of the conversation")
        assert [each for each in logs if each["log_level"] in ("error", "critical")] == []
        assert {each["event"] for each in logs if each["log_level"] == "warning"} <= set(TOLD.values())
        await _still_serves(node)


async def _hear(connection: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                frame = orjson.loads(await connection.recv())
                assert [error.message for error in ANSWERS[frame["op"]].iter_errors(frame)] == [], frame
                if frame == {"op": "pong", "ref": "last"}:
                    return


async def _nothing_left(node: Served, tasks: int) -> bool:
    left = await node.management.subscriptions()
    return (
        len(node.app.connections) == 0
        and len(asyncio.all_tasks()) <= tasks
        and all(each["durable"] and each["consumers"] == 0 == each["in_flight"] for each in left)
    )


async def _still_serves(node: Served) -> None:
    async with node.link() as link:
        answer = await link.ask(op="subscribe", ref=1, durable=False, topics=["still.serves"])
        assert answer["op"] == "subscribed"
        await link.send(op="publish", ref=2, events=[{"type": "still.serves"}])
        frames = [await link.next(), await link.next()]
        assert {frame["op"] for frame in frames} == {"published", "deliver"}
