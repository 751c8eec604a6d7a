"""The AsyncAPI document: every frame of the protocol is in it, and its examples are what is taken and said."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from router_client import wire
from router_client.errors import InvalidInput
from router_node.edges import asyncapi, websocket, websocket_session
from router_node.edges.limits import Limits
from tests.edges.described import faults, resolved
from tests.edges.served import Link, Served

DOCUMENT = asyncapi.document()
CLIENT, NODE = asyncapi.CLIENT, asyncapi.NODE
PROBLEM = InvalidInput("is required", field="type")


def schema(op: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["messages"][op]["payload"]
    return found


def test_its_references_lead_somewhere() -> None:
    def walk(place: Any) -> None:
        if isinstance(place, dict):
            resolved(place, DOCUMENT)
            for each in place.values():
                walk(each)
        elif isinstance(place, list):
            for each in place:
                walk(each)

    walk(DOCUMENT)
    assert DOCUMENT["asyncapi"] == "3.0.0"


def test_every_frame_of_a_client_is_described_and_its_example_is_taken() -> None:
    assert CLIENT.keys() == wire._READERS.keys()
    for op, frame in CLIENT.items():
        assert faults(frame.example, schema(op), DOCUMENT) == []
        text = orjson.dumps(frame.example).decode()
        assert type(wire.read_frame(wire.decode(text))).__name__.lower() == op


@pytest.mark.parametrize("op", CLIENT)
def test_what_is_not_described_is_refused_and_what_is_required_is_needed(op: str) -> None:
    frame = CLIENT[op]
    with pytest.raises(InvalidInput):
        wire.read_frame({**frame.example, "nothing": 1})
    for member in schema(op).get("required", []):
        without = {name: value for name, value in frame.example.items() if name != member}
        with pytest.raises(InvalidInput):
            wire.read_frame(without)


def test_every_frame_of_a_node_is_described_as_it_is_written() -> None:
    event = orjson.dumps(asyncapi.events.STORED)
    written = {
        "welcome": wire.welcome("node-1", "default", Limits().announced()),
        "published": wire.published(2, [asyncapi.events.PUBLISHED, {"error": PROBLEM.problem()}]),
        "subscribed": wire.subscribed(1, "late"),
        "unsubscribed": wire.unsubscribed(3, "late"),
        "deliver": wire.deliver("late", [(asyncapi.DELIVERY_ID, 1, event)]),
        "error": wire.error(PROBLEM, ref=2),
        "draining": wire.draining(),
        "pong": wire.pong("p-1"),
    }
    assert NODE.keys() == written.keys()
    for op, frame in NODE.items():
        assert orjson.loads(written[op]) == frame.example
        assert faults(frame.example, schema(op), DOCUMENT) == []
    unknown = orjson.loads(wire.error(PROBLEM, ref=2, unknown=["1.1.1.0"], name="late"))
    assert faults(unknown, schema("error"), DOCUMENT) == []


async def test_a_conversation_of_examples_is_answered_as_described(node: Served) -> None:
    async with node.link(greet=False) as link:
        for op in ("hello", "subscribe", "publish", "settle", "credit", "ping", "unsubscribe"):
            frame = CLIENT[op]
            await link.send(**frame.example)
            if frame.answer is not None or op == "settle":  # the delivery of the example is not in flight
                answer = await _answer(link)
                assert answer["op"] == (frame.answer or "error")
                assert faults(answer, schema(answer["op"]), DOCUMENT) == []
                assert answer.get("ref") == frame.example.get("ref")


async def _answer(link: Link) -> dict[str, Any]:
    while (frame := await link.next())["op"] == "deliver":
        assert faults(frame, schema("deliver"), DOCUMENT) == []
    return frame


def test_every_code_that_a_node_closes_with_is_described() -> None:
    said = {each.code for each in vars(websocket_session).values() if isinstance(each, websocket_session.Closing)}
    assert len(said) > 4
    described = DOCUMENT["channels"]["conversation"]["x-close-codes"]
    assert {str(code) for code in said | {websocket.FAILED} | websocket.UNREADABLE.keys()} == described.keys()


async def test_it_is_served(node: Served, http: Any) -> None:
    async with http.get("/asyncapi.json") as response:
        assert orjson.loads(await response.read()) == orjson.loads(orjson.dumps(DOCUMENT))
