"""The delivery log: what became of each attempt."""

from __future__ import annotations

from typing import get_args

from router_node.edges.openapi.events import EVENT_ID, FROM, ID, TO
from router_node.edges.openapi.paging import CURSOR, LIMIT, ORDER, page
from router_node.edges.openapi.parts import (
    Noun,
    answer,
    boolean,
    choice,
    in_query,
    integer,
    maybe,
    moment,
    number,
    operation,
    ref,
    told,
)
from router_node.edges.openapi.parts import text as _text
from stores.attempts import Outcome

OUTCOME = choice(*get_args(Outcome))

SCHEMAS = {
    "Delivery": told(
        "One attempt to deliver an event to a durable subscription.",
        at=moment("When it ended."),
        event_id=_text(),
        subscription=_text(),
        partition=integer(0, None),
        attempt=integer(0, None, "Counts from 1; 0: it expired before it was ever handed over."),
        outcome=OUTCOME,
        dead=boolean("It made the event a dead letter."),
        latency_ms=number(0, None, "From the hand-over to the outcome."),
        status=maybe(integer(0, None, "What a destination answered.")),
        error=_text(),
        response=_text("The beginning of what a destination answered."),
        node=_text("Who made the attempt."),
    ),
    "DeliveryPage": page("deliveries", ref("Delivery")),
}

DELIVERY = {
    "at": "2026-01-01T12:00:00.512000Z",
    "event_id": EVENT_ID,
    "subscription": "billing",
    "partition": 17,
    "attempt": 1,
    "outcome": "acked",
    "dead": False,
    "latency_ms": 3.2,
    "status": None,
    "error": "",
    "response": "",
    "node": "node-1",
}

_CONDITIONS = [
    in_query("subscription", _text(), "Of this subscription.", "billing"),
    in_query("outcome", OUTCOME, "With this outcome. A page may be short then, and yet not the last.", "acked"),
    FROM,
    TO,
    ORDER,
    LIMIT,
    CURSOR,
]
_PAGE = answer("A page of attempts.", ref("DeliveryPage"), {"deliveries": [DELIVERY], "next": None})

NOUN = Noun(
    "Deliveries",
    "The delivery log: what became of each attempt to deliver an event.",
    {
        "/v1/deliveries": {
            "get": operation(
                "listDeliveries",
                "List attempts, newest first",
                parameters=[in_query("event", _text(), "Of the event with this id.", EVENT_ID), *_CONDITIONS],
                answers={200: _PAGE},
                errors=(404, 409, 503),
            ),
        },
        "/v1/events/{id}/deliveries": {
            "get": operation(
                "listDeliveriesOfEvent",
                "List attempts to deliver an event, oldest first",
                description="An event that nobody tried to deliver, or that there is not, has none.",
                parameters=[ID, *_CONDITIONS],
                answers={200: _PAGE},
                errors=(404, 409, 503),
            ),
        },
    },
    SCHEMAS,
)
