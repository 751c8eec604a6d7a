"""Events: published in any of their formats, and asked for when they are stored."""

from __future__ import annotations

from router_client.event import DEFAULT_PRIORITY, MAX_EVENT_BYTES, MAX_TEXT_BYTES
from router_client.topics import MAX_TOKENS, MAX_TOPIC_BYTES
from router_node.edges.limits import Limits
from router_node.edges.openapi.paging import CURSOR, LIMIT, ORDER, page
from router_node.edges.openapi.parts import (
    JSON,
    Json,
    Noun,
    also,
    answer,
    anything,
    asked,
    boolean,
    choice,
    in_header,
    in_path,
    in_query,
    integer,
    listed,
    maybe,
    moment,
    operation,
    ref,
    told,
)
from router_node.edges.openapi.parts import text as _text

LIMITS = Limits()
EVENT_ID = "0199c1f0-7d3c-7c3a-9f0b-2f6f5c1d2e3f"
TIME = "2026-01-01T12:00:00Z"

TOPIC = _text(f"Dot-separated tokens, at most {MAX_TOKENS}.", minLength=1, maxLength=MAX_TOPIC_BYTES)
PATTERN = _text(
    "A topic in which `*` stands for one token, and `>` at the end for one or more.",
    minLength=1,
    maxLength=MAX_TOPIC_BYTES,
)

ORDER_7 = {
    "type": "orders.created",
    "payload": {"amount": 120, "currency": "EUR"},
    "correlation_id": "order-7",
    "priority": 7,
}
STORED = {
    "id": EVENT_ID,
    "type": "orders.created",
    "priority": 7,
    "timestamp": TIME,
    "source": "shop",
    "correlation_id": "order-7",
    "payload": {"amount": 120, "currency": "EUR"},
}
PUBLISHED = {"id": EVENT_ID, "partition": 17, "duplicate": False}
CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "order-7-created",
    "source": "shop",
    "type": "orders.created",
    "data": {"amount": 120},
}
REFUSED = {
    "error": {
        "type": "/docs#problem-invalid",
        "title": "Invalid input",
        "status": 400,
        "code": "invalid",
        "detail": "is required",
        "field": "type",
    }
}


def _member(description: str, *, empty: bool = False) -> Json:
    return _text(
        f"{description} At most {MAX_TEXT_BYTES} bytes.", minLength=0 if empty else 1, maxLength=MAX_TEXT_BYTES
    )


def _any_of(schema: Json) -> Json:
    return {"anyOf": [schema, {}], "description": "One that is something else is refused in its place, and no other."}


_MEMBERS: dict[str, Json] = {
    "id": _member("Chosen by the publisher, or a UUIDv7. Within the deduplication window an id is routed once."),
    "priority": integer(0, 9, "9 goes first.", default=DEFAULT_PRIORITY),
    "timestamp": moment("When it happened; now, if not given."),
    "source": _member("Where it comes from.", empty=True),
    "target": _member("Deliver it to the subscription of this name only."),
    "payload": anything("The event's own data, at most 32 levels deep."),
    "metadata": anything("Data about the event, such as `traceparent`."),
    "correlation_id": _member("Events of one correlation id and priority keep their order; the id, if not given."),
    "deliver_at": moment("Not before this time."),
    "expires_at": moment("Not after this time."),
}
_KEPT = ("id", "type", "priority", "timestamp", "source", "correlation_id", "payload")

SCHEMAS: dict[str, Json] = {
    "NewEvent": asked(
        f"An event to publish, at most {MAX_EVENT_BYTES} bytes encoded unless the node is set up otherwise.",
        ["type"],
        type=TOPIC,
        **{name: maybe(schema) for name, schema in _MEMBERS.items()},
    ),
    "Event": {**told("An event as it is stored.", type=TOPIC, **_MEMBERS), "required": list(_KEPT)},
    "CloudEvent": {
        "type": "object",
        "description": "A CloudEvent 1.0 in the JSON format.",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": _text(minLength=1),
            "source": _text(minLength=1),
            "type": _text(minLength=1),
            "data": {},
        },
    },
    "Published": told(
        "An event that was accepted.",
        id=_text(),
        partition=integer(0, None),
        duplicate=boolean("An event of this id was accepted before; it is routed once."),
    ),
    "Refused": told("An event that was refused; the others of its batch are not.", error=ref("Problem")),
    "Results": told(
        "What became of each event, in their order.",
        results=listed({"anyOf": [ref("Published"), ref("Refused")]}),
    ),
    "EventPage": page("events", ref("Event")),
    "Trace": told(
        "What happened to an event.",
        event=ref("Event"),
        accepted_at=moment("When the log accepted it."),
        correlation=listed(ref("Event"), "All events of its correlation id, in the order they were accepted."),
        dead_letters=listed(ref("DeadLetter"), "Its dead letters."),
        complete=boolean("False: there were too many events or dead letters to look at."),
    ),
}

ID = in_path("id", _text(minLength=1), "The id of an event; a slash in it is %2F.", EVENT_ID)
FROM = in_query("from", moment("Inclusive."), "From this time on.", TIME)
TO = in_query("to", moment("Exclusive."), "Before this time.", "2026-01-02T00:00:00+01:00")
_PUBLISH_BODY: Json = {
    "required": True,
    "content": {
        JSON: {
            "schema": {"anyOf": [ref("NewEvent"), listed(_any_of(ref("NewEvent")), maxItems=LIMITS.max_batch)]},
            "examples": {
                "one": {"summary": "One event: answered with 202", "value": ORDER_7},
                "many": {"summary": "Several: answered with 200", "value": [ORDER_7, {"type": "orders.paid"}]},
            },
        },
        "application/x-ndjson": {
            "schema": {"description": "A NewEvent a line."},
            "example": '{"type": "orders.created"}\n{"type": "orders.paid"}\n',
        },
        "application/cloudevents+json": {"schema": ref("CloudEvent"), "example": CLOUD_EVENT},
        "application/cloudevents-batch+json": {"schema": listed(_any_of(ref("CloudEvent"))), "example": [CLOUD_EVENT]},
    },
}

NOUN = Noun(
    "Events",
    "Published in any of their formats; stored, and asked for.",
    {
        "/v1/events": {
            "get": operation(
                "listEvents",
                "List stored events, newest first",
                parameters=[
                    in_query("type", PATTERN, "A topic, or a pattern.", "orders.*"),
                    in_query("correlation_id", _text(), "Equal to this.", "order-7"),
                    in_query("source", _text(), "Equal to this.", "shop"),
                    in_query(
                        "payload",
                        _text(contentMediaType=JSON),
                        "A JSON object that the event's payload must contain.",
                        '{"currency": "EUR"}',
                    ),
                    FROM,
                    TO,
                    ORDER,
                    LIMIT,
                    CURSOR,
                ],
                description=(
                    "With `accept: application/cloudevents-batch+json` a page is a batch of CloudEvents, and the "
                    "header `Link` leads to the next."
                ),
                answers={
                    200: also(
                        answer("A page of events.", ref("EventPage"), {"events": [STORED], "next": None}),
                        listed(ref("CloudEvent")),
                        [CLOUD_EVENT],
                        "application/cloudevents-batch+json",
                    )
                },
                errors=(409, 503),
            ),
            "post": operation(
                "publishEvents",
                "Publish one event, or many",
                description=(
                    "The content type tells the format. With `ce-*` headers the body, of any type, is the data of a "
                    "CloudEvent in binary mode. A bad event of a batch costs only itself; a body that cannot be read "
                    "is refused as a whole."
                ),
                parameters=[
                    in_query(
                        "ack",
                        choice("accepted", "replicated", "stored", default="accepted"),
                        "When to answer: the log has it, replicas have it too, or the store has committed it.",
                        "accepted",
                    ),
                    in_header("traceparent", _text(), "Copied into the metadata of events that carry none.", ""),
                ],
                body=_PUBLISH_BODY,
                answers={
                    202: answer("One event was accepted.", ref("Published"), PUBLISHED),
                    200: answer("What became of each event.", ref("Results"), {"results": [PUBLISHED, REFUSED]}),
                },
                errors=(429, 503),
            ),
        },
        "/v1/events/{id}": {
            "get": operation(
                "getEvent",
                "Look at a stored event",
                parameters=[ID],
                answers={
                    200: also(
                        answer("The event; as a CloudEvent where that is what is accepted.", ref("Event"), STORED),
                        ref("CloudEvent"),
                        CLOUD_EVENT,
                        "application/cloudevents+json",
                    )
                },
                errors=(404, 409, 503),
            ),
        },
        "/v1/events/{id}/trace": {
            "get": operation(
                "traceEvent",
                "See what happened to an event",
                parameters=[ID],
                answers={
                    200: answer(
                        "The event, its correlation and its dead letters.",
                        ref("Trace"),
                        {
                            "event": STORED,
                            "accepted_at": "2026-01-01T12:00:00.000125Z",
                            "correlation": [STORED],
                            "dead_letters": [],
                            "complete": True,
                        },
                    )
                },
                errors=(404, 409, 503),
            ),
        },
    },
    SCHEMAS,
)
