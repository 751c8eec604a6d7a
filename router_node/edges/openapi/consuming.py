"""Consuming over plain HTTP: pull and settle, and a live stream."""

from __future__ import annotations

from router_client.wire import MAX_DELAY_S
from router_node.edges.limits import Limits
from router_node.edges.openapi.events import PATTERN, STORED
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    asked,
    choice,
    in_query,
    integer,
    listed,
    maybe,
    number,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text
from router_node.edges.openapi.subscriptions import NAMED

LIMITS = Limits()
DELIVERY_ID = "1.17.0"


def _or_object(**members: Json) -> Json:
    return {"anyOf": [_text("A delivery id."), asked("One with more to say.", ["delivery_id"], **members)]}


_IDS = listed(_text("A delivery id."))
_NACK = _or_object(
    delivery_id=_text(), delay_s=maybe(number(0, MAX_DELAY_S, "When to try again.")), error=maybe(_text("Why."))
)
_REJECT = _or_object(delivery_id=_text(), error=maybe(_text("Why.")))

SCHEMAS: dict[str, Json] = {
    "Handed": told(
        "A delivery that was handed over.",
        delivery_id=_text("To settle it by."),
        attempt=integer(1, None, "Counts from 1."),
        event=ref("Event"),
    ),
    "Settlement": asked(
        "What became of deliveries.",
        ack=maybe({**_IDS, "description": "Done."}),
        nack=maybe(listed(_NACK, "Failed: deliver again, by the retry policy or after `delay_s`.")),
        reject=maybe(listed(_REJECT, "It will never work: a dead letter.")),
        extend=maybe({**_IDS, "description": "Still at it: the ack timeout starts again."}),
    ),
}

NOUN = Noun(
    "Consuming",
    "Deliveries over plain HTTP. The WebSocket at /v1/ws, described in /asyncapi.json, is faster.",
    {
        "/v1/subscriptions/{name}/pull": {
            "post": operation(
                "pullDeliveries",
                "Take deliveries",
                description=(
                    "Answered as soon as there is one, or with none after `wait_s`. What is not settled within the ack "
                    "timeout is delivered again."
                ),
                parameters=[NAMED],
                body=takes(
                    asked(
                        "How many, and how long to wait for the first.",
                        max=maybe(integer(1, LIMITS.max_pull, default=100)),
                        wait_s=number(0, LIMITS.max_wait_s, "Seconds.", default=0),
                    ),
                    {"max": 100, "wait_s": 2},
                    required=False,
                ),
                answers={
                    200: answer(
                        "What there was.",
                        told("Deliveries.", deliveries=listed(ref("Handed"))),
                        {"deliveries": [{"delivery_id": DELIVERY_ID, "attempt": 1, "event": STORED}]},
                    )
                },
                errors=(404, 409, 429, 503),
            ),
        },
        "/v1/subscriptions/{name}/settle": {
            "post": operation(
                "settleDeliveries",
                "Say what became of deliveries",
                parameters=[NAMED],
                body=takes(
                    ref("Settlement"),
                    {"ack": [DELIVERY_ID], "nack": [{"delivery_id": "1.17.1", "delay_s": 5, "error": "try later"}]},
                    required=False,
                ),
                answers={
                    200: answer(
                        "It is taken up.",
                        told("What could not be settled.", unknown=listed(_text(), "Ids that were not in flight.")),
                        {"unknown": ["1.17.1"]},
                    )
                },
                errors=(404, 503),
            ),
        },
        "/v1/stream": {
            "get": operation(
                "streamEvents",
                "Watch what is published, as server-sent events",
                description=(
                    "Live only: what is published between two connections is missed. A comment every 15 s shows that "
                    "it is alive; `event: draining` says that the node stops."
                ),
                parameters=[
                    {
                        **in_query("topic", listed(PATTERN, minItems=1), "May be repeated.", ["orders.*"]),
                        "required": True,
                    },
                    in_query(
                        "filter",
                        _text(contentMediaType="application/json"),
                        "A filter, as a subscription has one.",
                        '{"payload.amount": {"$gt": 100}}',
                    ),
                    in_query("buffer", integer(1, 10_000, default=1000), "Events that wait for a slow reader.", 1000),
                    in_query(
                        "overflow",
                        choice("drop_oldest", "drop_newest", default="drop_oldest"),
                        "What a slow reader misses.",
                        "drop_oldest",
                    ),
                ],
                answers={
                    200: answer(
                        "A stream that lasts until one side ends it.",
                        _text("Each event as `id`, `event` (its type) and `data` (the event object)."),
                        'id: order-7\nevent: orders.created\ndata: {"id": "order-7", "type": "orders.created"}\n\n',
                        "text/event-stream",
                    )
                },
                errors=(409, 429, 503),
            ),
        },
    },
    SCHEMAS,
)
