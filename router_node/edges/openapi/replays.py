"""Replays: stored events delivered again to one subscription."""

from __future__ import annotations

from typing import get_args

from router_node.edges.openapi.events import PATTERN
from router_node.edges.openapi.paging import CURSOR, LIMIT, page
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    anything,
    asked,
    choice,
    in_path,
    integer,
    maybe,
    moment,
    number,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text
from router_node.replay_desk import DEFAULT_RATE, MAX_RATE, MAX_TEXT
from stores.replays import ReplayState

REPLAY_ID = "3f2a9c51d0b7e846"
REPLAY: Json = {
    "id": REPLAY_ID,
    "subscription": "billing",
    "query": {"type": "orders.*", "to": "2026-01-01T12:00:00.000000Z"},
    "rate": 500.0,
    "state": "running",
    "delivered": 120,
    "skipped": 0,
    "error": "",
    "created_at": "2026-01-01T12:00:00.000000Z",
    "updated_at": "2026-01-01T12:00:01.000000Z",
}

SCHEMAS: dict[str, Json] = {
    "NewReplay": asked(
        "Which stored events to deliver again, and to whom.",
        ["subscription"],
        subscription=_text("Who gets them."),
        type=maybe(PATTERN),
        correlation_id=maybe(_text(minLength=1, maxLength=MAX_TEXT)),
        source=maybe(_text(minLength=1, maxLength=MAX_TEXT)),
        payload=maybe(anything("What the payload must contain.")),
        to=maybe(moment("Accepted before this time; now, and no later.")),
        rate=maybe(number(0.1, MAX_RATE, "Events a second.", default=DEFAULT_RATE)),
        **{"from": maybe(moment("Accepted from this time on."))},
    ),
    "Replay": told(
        "A replay, and how far it is.",
        id=_text(),
        subscription=_text(),
        query=anything("Its conditions."),
        rate=number(0, None, "Events a second."),
        state=choice(*get_args(ReplayState)),
        delivered=integer(0, None),
        skipped=integer(0, None, "Events that the subscription would not get now."),
        error=_text(),
        created_at=moment("When it began."),
        updated_at=moment("When it last told how far it is."),
    ),
    "ReplayPage": page("replays", ref("Replay")),
}

_ID = in_path("id", _text(minLength=1), "The id of a replay.", REPLAY_ID)

NOUN = Noun(
    "Replays",
    "Stored events delivered again to one subscription, at a bounded rate.",
    {
        "/v1/replays": {
            "get": operation(
                "listReplays",
                "List replays, newest first",
                description="What has ended is forgotten after 30 days.",
                parameters=[LIMIT, CURSOR],
                answers={200: answer("A page of replays.", ref("ReplayPage"), {"replays": [REPLAY], "next": None})},
                errors=(503,),
            ),
            "post": operation(
                "startReplay",
                "Start a replay",
                body=takes(ref("NewReplay"), {"subscription": "billing", "type": "orders.*", "rate": 500}),
                answers={201: answer("It has begun.", ref("Replay"), REPLAY)},
                errors=(404, 409, 503),
            ),
        },
        "/v1/replays/{id}": {
            "get": operation(
                "getReplay",
                "See how far a replay is",
                parameters=[_ID],
                answers={200: answer("The replay.", ref("Replay"), REPLAY)},
                errors=(404, 503),
            ),
            "delete": operation(
                "cancelReplay",
                "Cancel a replay that runs",
                description="What it has queued is still delivered.",
                parameters=[_ID],
                answers={200: answer("It is cancelled.", ref("Replay"), {**REPLAY, "state": "cancelled"})},
                errors=(404, 409, 503),
            ),
        },
    },
    SCHEMAS,
)
