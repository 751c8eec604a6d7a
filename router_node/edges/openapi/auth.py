"""What one may do oneself, and what another may."""

from __future__ import annotations

from router_node.access_desk import ACTIONS
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    boolean,
    choice,
    in_query,
    listed,
    maybe,
    moment,
    operation,
    ref,
    told,
)
from router_node.edges.openapi.parts import text as _text
from router_node.edges.openapi.policies import LIMITS, ORDERS, RIGHTS

ME: Json = {
    "principal": "key:till",
    "expires_at": None,
    "policies": ["orders"],
    "limits": ORDERS["limits"],
    "allows": {name: ORDERS[name] for name in RIGHTS},
}
ANSWER: Json = {
    "principal": "key:till",
    "action": "publish",
    "topic": "orders.created",
    "allowed": True,
    "by": ["orders"],
    "policies": ["orders"],
}

SCHEMAS: dict[str, Json] = {
    "Standing": told(
        "Who asks, and what it may do.",
        principal=_text(),
        expires_at=maybe(moment("When what it showed ends; null: it does not.")),
        policies=listed(_text(), "Those that hold for it."),
        limits=LIMITS,
        allows=told("All that any of them allows.", **RIGHTS),
    ),
    "Permission": told(
        "Whether it is allowed.",
        principal=_text(),
        action=choice(*ACTIONS),
        topic=_text(),
        allowed=boolean(),
        by=listed(_text(), "The policies that allow it."),
        policies=listed(_text(), "All that hold for the principal."),
    ),
}

NOUN = Noun(
    "Access",
    "What one may do.",
    {
        "/v1/auth/me": {
            "get": operation(
                "getMe", "Who am I, and what may I do?", answers={200: answer("It is you.", ref("Standing"), ME)}
            ),
        },
        "/v1/auth/can-i": {
            "get": operation(
                "canI",
                "May I, or may another, do this?",
                description="To ask about another needs `manage: read`.",
                parameters=[
                    {**in_query("action", choice(*ACTIONS), "What.", "publish"), "required": True},
                    {
                        **in_query(
                            "topic", _text(), "A topic or pattern; of manage, `read` or `write`.", "orders.paid"
                        ),
                        "required": True,
                    },
                    in_query("principal", _text(), "Another than who asks.", "key:till"),
                ],
                answers={200: answer("Whether, and by which policies.", ref("Permission"), ANSWER)},
                errors=(503,),
            ),
        },
    },
    SCHEMAS,
)
