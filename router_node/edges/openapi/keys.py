"""API keys: made, rotated, revoked and listed. The key itself is shown once, when it is made or rotated."""

from __future__ import annotations

from typing import Any

from router_node.edges.openapi.paging import CURSOR, LIMIT, page
from router_node.edges.openapi.parts import (
    Json,
    Noun,
    answer,
    asked,
    choice,
    header,
    in_path,
    listed,
    maybe,
    moment,
    number,
    operation,
    ref,
    takes,
    told,
)
from router_node.edges.openapi.parts import text as _text
from router_node.key_desk import LONGEST_GRACE_S, LONGEST_S, MAX_POLICIES_OF_A_KEY

NAME = _text("Letters, digits, dots, dashes and underscores.", pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
KEY_ID = "5f0c2a9be1d34477"
KEY: Json = {
    "id": KEY_ID,
    "name": "till",
    "policies": ["publisher"],
    "state": "live",
    "created_at": "2026-01-01T12:00:00.000000Z",
    "created_by": "key:root",
    "expires_at": None,
    "revoked_at": None,
    "rotated_at": None,
    "former_until": None,
}
SECRET = f"er_{KEY_ID}_" + "0" * 43
_MEMBERS: dict[str, Json] = {
    "id": _text("What finds it; no secret."),
    "name": _text("Its principal is `key:<name>`."),
    "policies": listed(_text(), "What it may do."),
    "state": choice("live", "expired", "revoked"),
    "created_at": moment("When it was made."),
    "created_by": _text("The principal that made it."),
    "expires_at": maybe(moment("When it ends; null: it does not.")),
    "revoked_at": maybe(moment("When it was revoked.")),
    "rotated_at": maybe(moment("When it last got a new secret.")),
    "former_until": maybe(moment("So long the secret before is good; null: it is not.")),
}
_NO_STORE = header({"const": "no-store"}, "It is kept by no cache.", "no-store")

SCHEMAS: dict[str, Json] = {
    "NewKey": asked(
        "A key to be made. It can allow no more than who asks may do.",
        ["name", "policies"],
        name=NAME,
        policies=listed(NAME, "Names of policies.", maxItems=MAX_POLICIES_OF_A_KEY),
        expires_at=maybe(moment("A time to come, instead of `expires_in_s`.")),
        expires_in_s=maybe(number(1, LONGEST_S, "Seconds.")),
    ),
    "Key": told("A key, without its secret.", **_MEMBERS),
    "ShownKey": told("A key with its secret.", **_MEMBERS, key=_text("Shown this once: only its hash is kept.")),
    "KeyPage": page("keys", ref("Key")),
}

_ID = in_path("id", _text(minLength=1), "The id of a key.", KEY_ID)


def _shown(description: str, **members: Any) -> Json:
    return answer(description, ref("ShownKey"), {**KEY, **members, "key": SECRET}, headers={"Cache-Control": _NO_STORE})


NOUN = Noun(
    "Keys",
    "API keys. Looking at them needs `manage: read`, changing them `manage: write`.",
    {
        "/v1/keys": {
            "get": operation(
                "listKeys",
                "List keys, by id",
                parameters=[LIMIT, CURSOR],
                answers={200: answer("A page of keys.", ref("KeyPage"), {"keys": [KEY], "next": None})},
                errors=(503,),
            ),
            "post": operation(
                "createKey",
                "Make a key",
                description="403 also when it would allow what who asks may not do; 409 when there are too many.",
                body=takes(ref("NewKey"), {"name": "till", "policies": ["publisher"], "expires_in_s": 7_776_000}),
                answers={201: _shown("It is good at once, on this node; within two seconds on all.")},
                errors=(409, 503),
            ),
        },
        "/v1/keys/{id}": {
            "delete": operation(
                "revokeKey",
                "End a key",
                description="All nodes refuse it within two seconds, and end what it holds open. May be repeated.",
                parameters=[_ID],
                answers={
                    200: answer(
                        "It is over.",
                        ref("Key"),
                        {**KEY, "state": "revoked", "revoked_at": "2026-01-02T12:00:00.000000Z"},
                    )
                },
                errors=(404, 409, 503),
            ),
        },
        "/v1/keys/{id}/rotate": {
            "post": operation(
                "rotateKey",
                "Give a key a new secret",
                description="409 when it is no longer live, or was changed at the same moment.",
                parameters=[_ID],
                body=takes(
                    asked(
                        "How long the secret before is good.",
                        grace_s=maybe(number(0, LONGEST_GRACE_S, "Seconds.", default=0)),
                    ),
                    {"grace_s": 3600},
                    required=False,
                ),
                answers={200: _shown("Its new secret.", rotated_at="2026-01-02T12:00:00.000000Z")},
                errors=(404, 409, 503),
            ),
        },
    },
    SCHEMAS,
)
