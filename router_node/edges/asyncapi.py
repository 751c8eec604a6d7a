"""The WebSocket protocol as an AsyncAPI 3.0 document: every frame of both sides, with an example."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

from router_client.wire import MAX_CREDIT, MAX_REF, MAX_REF_CHARS, VERSION
from router_node.edges.limits import Limits
from router_node.edges.openapi import (
    consuming,
    dead_letters,
    deliveries,
    events,
    keys,
    problems,
    subscription_schemas,
)
from router_node.edges.openapi.parts import Json, asked, boolean, integer, listed, maybe, ref, text, told

PATH = "/v1/ws"
LIMITS = Limits()
DELIVERY_ID = "5f3a9c01.1.17.0"
MESSAGES = "#/channels/conversation/messages"

REF: Json = {
    "description": "A mark of the client's own; the frame that answers carries it.",
    "anyOf": [integer(-MAX_REF, MAX_REF), text(maxLength=MAX_REF_CHARS), {"type": "null"}],
}
_NAME = text("The name of a subscription.", minLength=1)
_MORE = integer(1, MAX_CREDIT, "How many more deliveries may come.")
_SETTINGS = subscription_schemas.SCHEMAS["NewSubscription"]["properties"]


class Frame(NamedTuple):
    """A frame: what it is for, its schema, an example, and what answers it."""

    summary: str
    schema: Json
    example: Json
    answer: str | None = None


def _sent(op: str, required: tuple[str, ...] = (), **members: Json) -> Json:
    return asked("", ["op", *required], op={"const": op}, ref=REF, **members)


def _said(op: str, **members: Json) -> Json:
    return told("", op={"const": op}, **members)


def _answering(op: str, **members: Json) -> Json:
    schema = _said(op, **members)
    return {**schema, "properties": {**schema["properties"], "ref": REF}}


CLIENT = {
    "hello": Frame(
        f"Comes first, within {LIMITS.hello_timeout_s:g} seconds. Where security is on, `token` shows an API key or a "
        "JSON Web Token, unless the upgrade has shown one, or a certificate.",
        _sent(
            "hello",
            ("version",),
            version={"const": VERSION},
            token=maybe(text("A key or a JSON Web Token.")),
        ),
        {"op": "hello", "version": VERSION, "token": keys.SECRET},
        "welcome",
    ),
    "publish": Frame(
        "Publish events. A bad event costs only itself.",
        _sent(
            "publish",
            ("events",),
            ack={"type": "string", "enum": ["accepted", "replicated", "stored"], "default": "accepted"},
            events=listed({"anyOf": [ref("NewEvent"), {}]}, maxItems=LIMITS.max_batch),
        ),
        {"op": "publish", "ref": 2, "ack": "accepted", "events": [events.ORDER_7]},
        "published",
    ),
    "subscribe": Frame(
        "Create or change a subscription, and take deliveries of it. Without a name it is ephemeral.",
        _sent(
            "subscribe",
            ("topics",),
            **{**_SETTINGS, "durable": maybe(boolean("It keeps its backlog while nobody is connected."))},
            credit=maybe(integer(0, MAX_CREDIT, "How many deliveries may come; max_in_flight, if not given.")),
        ),
        {
            "op": "subscribe",
            "ref": 1,
            "name": "late",
            "topics": ["flights.departed.>"],
            "filter": {"payload.dep_delay": {"$gt": 60}},
            "credit": 100,
        },
        "subscribed",
    ),
    "unsubscribe": Frame(
        "Take no more. A durable subscription stays, and goes on collecting.",
        _sent("unsubscribe", ("name",), name=_NAME),
        {"op": "unsubscribe", "ref": 3, "name": "late"},
        "unsubscribed",
    ),
    "settle": Frame(
        "Say what became of deliveries, and how many more may come.",
        _sent(
            "settle",
            **consuming.SCHEMAS["Settlement"]["properties"],
            credit=maybe({"type": "object", "additionalProperties": _MORE, "description": "By subscription."}),
        ),
        {"op": "settle", "ack": [DELIVERY_ID], "credit": {"late": 1}},
    ),
    "credit": Frame(
        "Let more deliveries come.",
        _sent("credit", ("name", "add"), name=_NAME, add=_MORE),
        {"op": "credit", "name": "late", "add": 50},
    ),
    "ping": Frame("Ask for a pong.", _sent("ping"), {"op": "ping", "ref": "p-1"}, "pong"),
}

NODE = {
    "welcome": Frame(
        "Answers a hello.",
        _said(
            "welcome",
            version={"const": VERSION},
            node=text(),
            cluster=text(),
            limits=told("What the node takes.", **{name: integer(1, None) for name in LIMITS.announced()}),
        ),
        {"op": "welcome", "version": VERSION, "node": "node-1", "cluster": "default", "limits": LIMITS.announced()},
    ),
    "published": Frame(
        "Answers a publish: what became of each event, in order.",
        _answering("published", results=listed({"anyOf": [ref("Published"), ref("Refused")]})),
        {"op": "published", "ref": 2, "results": [events.PUBLISHED, events.REFUSED]},
    ),
    "subscribed": Frame(
        "Answers a subscribe, with the name given to a nameless one.",
        _answering("subscribed", name=_NAME),
        {"op": "subscribed", "ref": 1, "name": "late"},
    ),
    "unsubscribed": Frame(
        "Answers an unsubscribe.",
        _answering("unsubscribed", name=_NAME),
        {"op": "unsubscribed", "ref": 3, "name": "late"},
    ),
    "deliver": Frame(
        "Hands over deliveries.",
        _said("deliver", name=_NAME, deliveries=listed(ref("Handed"))),
        {
            "op": "deliver",
            "name": "late",
            "deliveries": [{"delivery_id": DELIVERY_ID, "attempt": 1, "event": events.STORED}],
        },
    ),
    "error": Frame(
        "With `ref` it answers that frame; with `name` and no `ref` that subscription has ended.",
        {
            **_answering("error", error=ref("Problem")),
            "properties": {
                "op": {"const": "error"},
                "ref": REF,
                "error": ref("Problem"),
                "name": _NAME,
                "unknown": listed(text(), "Delivery ids that are not in flight on this connection."),
            },
        },
        {"op": "error", "ref": 2, **events.REFUSED},
    ),
    "draining": Frame("The node is about to stop: connect again, to another.", _said("draining"), {"op": "draining"}),
    "pong": Frame("Answers a ping.", _answering("pong"), {"op": "pong", "ref": "p-1"}),
}

CLOSINGS = {
    1001: "The node stops.",
    1002: "It was no WebSocket frame.",
    1007: "A text message was not UTF-8.",
    1008: "The first frame was not a hello, or none came in time.",
    1009: "A message was larger than `limits.max_frame_bytes`.",
    1011: "No answer to WebSocket pings, or a fault of the node, which its log explains.",
    1013: "Credentials cannot be checked now, or there are as many connections as one may have: try again later.",
    4008: "Too many frames waited to be read.",
    4009: "Too many frames made no sense.",
    4401: "No valid credentials, or no longer: revoked, expired.",
}
"""Why a node closes a connection, by the code it closes it with."""

SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key or a JSON Web Token, with the upgrade or as the `token` of the hello.",
    },
    "certificate": {"type": "X509", "description": "A client certificate."},
}

ABOUT = (
    "One connection to `/v1/ws` carries everything an application needs. Every frame is one JSON object in one text "
    "message; `op` says what it is. Members that are not described are refused; what a node says may gain members. A "
    "frame that is wrong does not close the connection: it is answered with an `error`. docs/websocket.md has the "
    "whole conversation.\n\nA node closes a connection with one of these codes: "
    + " ".join(f"{code}: {why}" for code, why in CLOSINGS.items())
)


def document() -> Json:
    """Return the document as a JSON object."""
    frames = {**CLIENT, **NODE}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Event Router over WebSocket",
            "version": version("event-router"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "node": {
                "host": "localhost:8080",
                "protocol": "ws",
                "description": "Any node; `wss` where it serves TLS.",
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in SCHEMES],
            }
        },
        "channels": {
            "conversation": {
                "address": PATH,
                "title": "A conversation",
                "x-close-codes": {str(code): why for code, why in CLOSINGS.items()},
                "messages": {op: {"$ref": f"#/components/messages/{op}"} for op in frames},
            }
        },
        "operations": {
            **{f"take_{op}": _operation("receive", op, frame) for op, frame in CLIENT.items()},
            **{f"say_{op}": _operation("send", op, frame) for op, frame in NODE.items()},
        },
        "components": {
            "messages": {op: _message(op, frame) for op, frame in frames.items()},
            "schemas": _schemas(),
            "securitySchemes": SCHEMES,
        },
    }


def _operation(action: str, op: str, frame: Frame) -> Json:
    channel = {"$ref": "#/channels/conversation"}
    found: Json = {
        "action": action,
        "summary": frame.summary,
        "channel": channel,
        "messages": [{"$ref": f"{MESSAGES}/{op}"}],
    }
    if frame.answer is not None:
        answers = [{"$ref": f"{MESSAGES}/{each}"} for each in (frame.answer, "error")]
        found["reply"] = {"channel": channel, "messages": answers}
    return found


def _message(op: str, frame: Frame) -> Json:
    example: dict[str, Any] = {"name": op, "payload": frame.example}
    return {"name": op, "title": op, "summary": frame.summary, "payload": frame.schema, "examples": [example]}


def _schemas() -> Json:
    found: Json = {"Problem": problems.SCHEMA}
    for brought in (events, consuming, subscription_schemas, deliveries, dead_letters):
        found |= brought.SCHEMAS
    return found
