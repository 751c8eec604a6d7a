"""The audit log: who did what, when, from where, and what came of it."""

from __future__ import annotations

from router_node.edges.openapi.paging import CURSOR, LIMIT, page
from router_node.edges.openapi.parts import Json, Noun, answer, anything, choice, in_query, moment, operation, ref, told
from router_node.edges.openapi.parts import text as _text

ENTRY: Json = {
    "at": "2026-01-01T12:00:00.000000Z",
    "id": "7f3a9c51d0b7e846",
    "principal": "key:root",
    "action": "policy.put",
    "object": "orders",
    "outcome": "done",
    "peer": "10.0.0.7",
    "details": {"publish": ["orders.>"]},
}

SCHEMAS: dict[str, Json] = {
    "AuditEntry": told(
        "One deed. No secret is ever in it.",
        at=moment("When."),
        id=_text(),
        principal=_text("Who."),
        action=_text("A noun and a verb."),
        object=_text("What it was done to."),
        outcome=choice("done", "refused", "failed"),
        peer=_text("The address it came from; empty for the command line on the database."),
        details=anything("What else is known of it."),
    ),
    "AuditPage": page("entries", ref("AuditEntry")),
}

NOUN = Noun(
    "Audit",
    "Who changed what. It needs `manage: read`.",
    {
        "/v1/audit": {
            "get": operation(
                "queryAudit",
                "Query the audit log, newest first",
                description="Entries of keys and policies are there at once, others within moments.",
                parameters=[
                    in_query("principal", _text(), "Who.", "key:root"),
                    in_query("action", _text(), "What was done.", "policy.put"),
                    in_query("object", _text(), "To what.", "orders"),
                    in_query("from", moment(""), "From this time on.", "2026-01-01T00:00:00Z"),
                    in_query("to", moment(""), "Before this time.", "2100-01-01T00:00:00Z"),
                    LIMIT,
                    CURSOR,
                ],
                answers={200: answer("A page of entries.", ref("AuditPage"), {"entries": [ENTRY], "next": None})},
                errors=(503,),
            ),
        },
    },
    SCHEMAS,
)
