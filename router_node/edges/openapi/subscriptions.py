"""Durable subscriptions: made, looked at, changed, paused, moved in time and deleted."""

from __future__ import annotations

from typing import Any

from router_node.edges.openapi.paging import CURSOR, LIMIT, page
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    asked,
    choice,
    empty,
    header,
    in_header,
    in_path,
    in_query,
    integer,
    moment,
    nothing,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text
from router_node.edges.openapi.subscription_schemas import NAME, SCHEMAS, SHOWN, SUBSCRIPTION

NAMED = in_path("name", NAME, "The name of a subscription.", "billing")
ETAG = header(_text(pattern='^"[1-9][0-9]*"$'), "The revision, as `If-Match` takes it.", '"42"')
IF_MATCH = in_header(
    "If-Match", _text(pattern=r'^("[1-9][0-9]{0,17}"|\*)$'), "Only if it is at this revision; `*`: if it is there.", "*"
)
IF_NONE_MATCH = in_header("If-None-Match", _text(pattern=r"^\*$"), "`*`: only if it is not there.", "*")
ASKED_FOR = {
    "topics": ["orders.>"],
    "filter": {"payload.amount": {"$gt": 100}},
    "retry": {"max_attempts": 5, "base_s": 1},
    "max_in_flight": 100,
}


def _shown(description: str, example: Any, *, tagged: bool = True) -> Json:
    return answer(description, ref("Subscription"), example, headers={"ETag": ETAG} if tagged else None)


NOUN = Noun(
    "Subscriptions",
    "Durable subscriptions: who gets which events, and how.",
    {
        "/v1/subscriptions": {
            "get": operation(
                "listSubscriptions",
                "List subscriptions, in the order of their names",
                description="Ephemeral ones, of live tails, are among them.",
                parameters=[LIMIT, CURSOR],
                answers={
                    200: answer(
                        "A page of subscriptions.", ref("SubscriptionPage"), {"subscriptions": [SHOWN], "next": None}
                    )
                },
                errors=(503,),
            ),
        },
        "/v1/subscriptions/{name}": {
            "get": operation(
                "getSubscription",
                "Look at a subscription, and what waits for it",
                parameters=[NAMED],
                answers={200: answer("The subscription.", ref("ShownSubscription"), SHOWN, headers={"ETag": ETAG})},
                errors=(404, 503),
            ),
            "put": operation(
                "putSubscription",
                "Create a subscription, or change it",
                description=(
                    "Its backlog stays, and so does a pause unless `paused` says otherwise. Answered when every live "
                    "node has it; after 503 it may be stored, and may be put again. 409 also refuses a filter that "
                    "would cost every event too much."
                ),
                parameters=[NAMED, IF_MATCH, IF_NONE_MATCH],
                body=takes(ref("NewSubscription"), ASKED_FOR),
                answers={
                    200: _shown("It was changed.", SUBSCRIPTION),
                    201: _shown("It was created.", SUBSCRIPTION),
                },
                errors=(409, 412, 503),
            ),
            "delete": operation(
                "deleteSubscription",
                "Delete a subscription",
                parameters=[
                    NAMED,
                    in_query(
                        "backlog",
                        choice("refuse", "discard", default="refuse"),
                        "What to do when it has a backlog: refuse with 409, or lose it.",
                        "discard",
                    ),
                    IF_MATCH,
                    IF_NONE_MATCH,
                ],
                answers={204: empty("It is gone.")},
                errors=(404, 409, 412, 503),
            ),
        },
        "/v1/subscriptions/{name}/pause": {
            "post": operation(
                "pauseSubscription",
                "Begin no more deliveries",
                description="What is under way is settled, what comes waits.",
                parameters=[NAMED],
                body=takes(
                    asked("Why, for whoever looks.", reason=_text(maxLength=500)),
                    {"reason": "maintenance until noon"},
                    required=False,
                ),
                answers={200: _shown("It is paused.", {**SUBSCRIPTION, "paused": True}, tagged=False)},
                errors=(404, 409, 503),
            ),
        },
        "/v1/subscriptions/{name}/resume": {
            "post": operation(
                "resumeSubscription",
                "Deliver again",
                parameters=[NAMED],
                body=nothing(),
                answers={200: _shown("It delivers.", SUBSCRIPTION, tagged=False)},
                errors=(404, 409, 503),
            ),
        },
        "/v1/subscriptions/{name}/seek": {
            "post": operation(
                "seekSubscription",
                "Pass over the backlog, and replay from a time on",
                description=(
                    "The replay takes the place of those of the subscription that run. After 503 it may have begun, "
                    "and the backlog may come too: seek again."
                ),
                parameters=[NAMED],
                body=takes(
                    asked("From when on.", ["to"], to=moment("Not a time to come.")), {"to": "2026-01-01T00:00:00Z"}
                ),
                answers={
                    200: answer(
                        "The replay has begun.",
                        told(
                            "What is passed over, and what is replayed.",
                            skip_before=moment("What was accepted before is passed over."),
                            skip_before_us=integer(0, None, "The same, in microseconds since 1970."),
                            replay=_text("The id of the replay."),
                        ),
                        {
                            "skip_before": "2026-01-01T12:00:00.000000Z",
                            "skip_before_us": 1767268800000000,
                            "replay": "3f2a9c51d0b7e846",
                        },
                    )
                },
                errors=(404, 409, 503),
            ),
        },
    },
    {**SCHEMAS, "SubscriptionPage": page("subscriptions", ref("ShownSubscription"))},
)
