"""Dead letters: events that could not be delivered, to look at, deliver again or remove."""

from __future__ import annotations

from typing import get_args

from router_node.edges.limits import Limits
from router_node.edges.openapi.deliveries import DELIVERY
from router_node.edges.openapi.events import EVENT_ID, FROM, PATTERN, STORED, TO
from router_node.edges.openapi.paging import CURSOR, LIMIT, page
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    asked,
    boolean,
    choice,
    empty,
    in_path,
    in_query,
    integer,
    listed,
    maybe,
    moment,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text
from stores.ports import DeadLetterReason

LETTER_ID = "17-1767268800512-0"
MOST = Limits().max_letters

_LETTER: dict[str, Json] = {
    "id": _text(),
    "subscription": _text("Where it failed."),
    "partition": integer(0, None),
    "reason": choice(*get_args(DeadLetterReason), description="Why it was given up."),
    "error": _text("The last failure."),
    "attempts": integer(0, None),
    "accepted_at": moment("When the event was accepted."),
    "dead_at": moment("When it was given up."),
    "event_id": _text(),
    "event_type": _text(),
    "event": maybe(ref("Event")),
}
_RAW = {"raw": _text("Of an `unreadable` one, whose `event` is null: what could be read.")}

_LIKE_THE_LIST: dict[str, Json] = {
    "subscription": maybe(_text("Of this subscription.")),
    "reason": maybe(_text("Given up for this reason.")),
    "type": maybe(PATTERN),
    "from": maybe(moment("Given up from this time on.")),
    "to": maybe(moment("Given up before this time.")),
}


def _letter(description: str, **more: Json) -> Json:
    letter = told(description, **_LETTER, **more)
    return {**letter, "properties": {**letter["properties"], **_RAW}}


SCHEMAS: dict[str, Json] = {
    "DeadLetter": _letter("An event that could not be delivered to a subscription."),
    "DeadLetterWithHistory": _letter(
        "A dead letter and its last attempts, oldest first.",
        history={
            "anyOf": [listed(ref("Delivery"), maxItems=100), {"type": "null"}],
            "description": "Null while the store cannot be asked.",
        },
    ),
    "DeadLetterPage": page("dead_letters", ref("DeadLetter")),
    "ChosenLetters": {
        "description": "Which dead letters: by their ids, or all that meet the conditions.",
        "oneOf": [
            asked("These.", ["ids"], ids=listed(_text(), maxItems=MOST), all={"enum": [False, None]}),
            asked("All of these.", ["all"], all={"const": True}, ids={"type": "null"}, **_LIKE_THE_LIST),
        ],
    },
}

LETTER: Json = {
    "id": LETTER_ID,
    "subscription": "billing",
    "partition": 17,
    "reason": "attempts",
    "error": "the card was refused",
    "attempts": 5,
    "accepted_at": "2026-01-01T12:00:00.000125Z",
    "dead_at": "2026-01-01T12:05:00.512000Z",
    "event_id": EVENT_ID,
    "event_type": "orders.created",
    "event": STORED,
}

_ID = in_path("id", _text(minLength=1), "The id of a dead letter.", LETTER_ID)


def _act(identifier: str, summary: str, description: str, counted: str) -> Json:
    return operation(
        identifier,
        summary,
        description=f"{description} One call takes at most {MOST} of them; then `more` is true.",
        body=takes(ref("ChosenLetters"), {"all": True, "subscription": "billing", "reason": "attempts"}),
        answers={
            200: answer(
                "It is done.",
                told("How many.", **{counted: integer(0, None), "more": boolean("There are more: call again.")}),
                {counted: 3, "more": False},
            )
        },
        errors=(404, 503),
    )


NOUN = Noun(
    "Dead letters",
    "Events that could not be delivered.",
    {
        "/v1/dead-letters": {
            "get": operation(
                "listDeadLetters",
                "List dead letters, oldest first",
                parameters=[
                    in_query("subscription", _text(), "Of this subscription.", "billing"),
                    in_query("reason", _text(), "Given up for this reason.", "attempts"),
                    in_query("type", PATTERN, "A topic, or a pattern.", "orders.*"),
                    FROM,
                    TO,
                    LIMIT,
                    CURSOR,
                ],
                answers={
                    200: answer(
                        "A page of dead letters.", ref("DeadLetterPage"), {"dead_letters": [LETTER], "next": None}
                    )
                },
                errors=(503,),
            ),
        },
        "/v1/dead-letters/counts": {
            "get": operation(
                "countDeadLetters",
                "Count dead letters by subscription and reason",
                answers={
                    200: answer(
                        "The counts.",
                        told(
                            "How many there are.",
                            counts=listed(told("", subscription=_text(), reason=_text(), count=integer(1, None))),
                            complete=boolean("False: there are more than were looked at."),
                        ),
                        {"counts": [{"subscription": "billing", "reason": "attempts", "count": 3}], "complete": True},
                    )
                },
                errors=(503,),
            ),
        },
        "/v1/dead-letters/{id}": {
            "get": operation(
                "getDeadLetter",
                "Look at a dead letter and its history",
                parameters=[_ID],
                answers={
                    200: answer("The dead letter.", ref("DeadLetterWithHistory"), {**LETTER, "history": [DELIVERY]})
                },
                errors=(404, 503),
            ),
            "delete": operation(
                "deleteDeadLetter",
                "Remove a dead letter",
                parameters=[_ID],
                answers={204: empty("It is gone.")},
                errors=(404, 503),
            ),
        },
        "/v1/dead-letters/replay": {
            "post": _act(
                "replayDeadLetters",
                "Deliver dead letters again",
                "To the subscription each failed in; then they are removed.",
                "replayed",
            ),
        },
        "/v1/dead-letters/purge": {
            "post": _act("purgeDeadLetters", "Remove dead letters", "For good.", "purged"),
        },
    },
    SCHEMAS,
)
