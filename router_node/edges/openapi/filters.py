"""Filters: tried against an event, and explained."""

from __future__ import annotations

from router_node.edges.openapi.events import PATTERN
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    anything,
    asked,
    boolean,
    integer,
    listed,
    maybe,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text

_VALUE: Json = {
    "type": "object",
    "description": "A value: itself, the beginning of its JSON, or that it is missing.",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"value": {}, "cut": _text(maxLength=200), "missing": {"const": True}},
}

SCHEMAS: dict[str, Json] = {
    "FilterTrial": asked(
        "Give `filter` (and `topics`, if you like) or `subscription`, and `event` or `event_id`.",
        filter=maybe(anything("A filter.")),
        topics=maybe(listed(PATTERN, minItems=1, maxItems=100)),
        subscription=maybe(_text("Try its topics and its filter, and the node's global filters.")),
        event=maybe(ref("NewEvent")),
        event_id=maybe(_text("The id of a stored event.")),
    ),
    "Condition": {
        **told(
            "A condition of a filter, and whether the event meets it.",
            field=_text("Its place in the filter, as a refusal would name it."),
            operator=_text(),
            holds=boolean(),
        ),
    },
    "Verdict": told(
        "What came of it.",
        matches=boolean("All conditions hold, and whatever else was asked."),
        conditions=listed(ref("Condition")),
    ),
}
SCHEMAS["Condition"]["properties"] |= {
    "operand": {**_VALUE, "description": "What the filter asks for."},
    "path": _text("Which part of the event it is about."),
    "found": listed(_VALUE, "The values that the path led to.", maxItems=5),
    "more": integer(0, None, "How many there were besides."),
    "parts": listed(ref("Condition"), "What it is made of."),
    "element": {**_VALUE, "description": "Of `$elemMatch`: the element that its parts are about."},
}
SCHEMAS["Verdict"]["properties"] |= {
    "topics": told(
        "Whether its topics cover the event's type.", patterns=listed(PATTERN), type=_text(), holds=boolean()
    ),
    "target": told("Whether the event is for this one.", subscription=_text(), target=_text(), holds=boolean()),
    "global_filters": listed(ref("Condition")),
}

NOUN = Noun(
    "Filters",
    "Tried against an event, and explained. Nothing is published.",
    {
        "/v1/filters/test": {
            "post": operation(
                "testFilter",
                "Try a filter, or a subscription, against an event",
                body=takes(
                    ref("FilterTrial"),
                    {
                        "filter": {"payload.amount": {"$gt": 100}},
                        "event": {"type": "orders.created", "payload": {"amount": 50}},
                    },
                ),
                answers={
                    200: answer(
                        "Whether it matches, and why or why not.",
                        ref("Verdict"),
                        {
                            "matches": False,
                            "conditions": [
                                {
                                    "field": "filter.payload.amount.$gt",
                                    "operator": "$gt",
                                    "operand": {"value": 100},
                                    "holds": False,
                                    "path": "payload.amount",
                                    "found": [{"value": 50}],
                                    "more": 0,
                                }
                            ],
                        },
                    )
                },
                errors=(404, 409, 503),
            ),
        },
    },
    SCHEMAS,
)
