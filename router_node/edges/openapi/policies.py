"""Policies: what their members may do."""

from __future__ import annotations

from router_node.edges.openapi.events import PATTERN
from router_node.edges.openapi.keys import NAME
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    asked,
    boolean,
    choice,
    empty,
    in_path,
    integer,
    listed,
    maybe,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text
from router_node.security.policy import LEVELS
from router_node.security.policy_object import MAX_MEMBER_CHARS, MAX_MEMBERS, MAX_PATTERNS

MOST = 2**53 - 1
ORDERS: Json = {
    "publish": ["orders.>"],
    "subscribe": ["orders.>"],
    "events": [],
    "dead_letters": [],
    "manage": "none",
    "members": ["cert:till-*"],
    "limits": {"publish_per_s": 50},
}
POLICY: Json = {"name": "orders", "built_in": False, **ORDERS}

_TOPICS: dict[str, Json] = {
    "publish": listed(PATTERN, "Events of these topics may be published.", maxItems=MAX_PATTERNS),
    "subscribe": listed(PATTERN, "Within these, subscriptions may be made and consumed.", maxItems=MAX_PATTERNS),
    "events": listed(PATTERN, "Stored events of these may be read and replayed.", maxItems=MAX_PATTERNS),
    "dead_letters": listed(PATTERN, "Dead letters of these may be handled.", maxItems=MAX_PATTERNS),
}
_LIMIT: Json = {"type": "number", "exclusiveMinimum": 0, "maximum": MOST}
_LIMITS: dict[str, Json] = {
    "publish_per_s": {**_LIMIT, "description": "Events a second, over the whole cluster."},
    "requests_per_s": {**_LIMIT, "description": "Requests other than publishing."},
    "connections": integer(1, MOST, "WebSockets, streams and waiting pulls at a time."),
    "subscriptions": integer(1, MOST, "Durable subscriptions that it has made."),
    "event_bytes": integer(1, MOST, "Bytes of one event."),
}
LIMITS: Json = asked("Bounds for each principal; what is not given is not bounded.", (), **_LIMITS)
MANAGE = choice(*LEVELS, description="Look at the cluster, keys and policies; or change them too.")
RIGHTS: dict[str, Json] = {**_TOPICS, "manage": MANAGE}
_MEMBERS = listed(
    _text(pattern=":", minLength=1, maxLength=MAX_MEMBER_CHARS),
    "Principals that have it by name; `*` stands for any text.",
    maxItems=MAX_MEMBERS,
)
_WHOLE: dict[str, Json] = {**RIGHTS, "members": _MEMBERS, "limits": LIMITS}

SCHEMAS: dict[str, Json] = {
    "NewPolicy": {
        **asked(
            "What members may do; what is left out allows nothing.",
            (),
            **{name: maybe(each) for name, each in _WHOLE.items()},
        ),
        "minProperties": 1,
    },
    "Policy": told("A policy.", name=NAME, built_in=boolean("It cannot be changed."), **_WHOLE),
}

_NAME = in_path("name", NAME, "The name of a policy.", "orders")

NOUN = Noun(
    "Policies",
    "What principals may do. Looking at them needs `manage: read`, changing them `manage: write`.",
    {
        "/v1/policies": {
            "get": operation(
                "listPolicies",
                "List all policies, by name",
                answers={
                    200: answer(
                        "Policies, those built in too.",
                        told("Policies.", policies=listed(ref("Policy"))),
                        {"policies": [POLICY]},
                    )
                },
                errors=(503,),
            ),
        },
        "/v1/policies/{name}": {
            "get": operation(
                "getPolicy",
                "Look at a policy",
                parameters=[_NAME],
                answers={200: answer("The policy.", ref("Policy"), POLICY)},
                errors=(404, 503),
            ),
            "put": operation(
                "putPolicy",
                "Make a policy, or replace it",
                description=(
                    "It holds for who is connected too, within two seconds. 403 also when it would allow what who asks "
                    "may not do; 409 when it is built in, or was changed at the same moment."
                ),
                parameters=[_NAME],
                body=takes(ref("NewPolicy"), ORDERS),
                answers={
                    200: answer("It was replaced.", ref("Policy"), POLICY),
                    201: answer("It was made.", ref("Policy"), POLICY),
                },
                errors=(409, 503),
            ),
            "delete": operation(
                "deletePolicy",
                "Delete a policy",
                description="409 while a key names it, and for one that is built in.",
                parameters=[_NAME],
                answers={204: empty("It is gone.")},
                errors=(404, 409, 503),
            ),
        },
    },
    SCHEMAS,
)
