"""Every error that a node answers, as RFC 9457 problem details: what it means, and one as it comes."""

from __future__ import annotations

from typing import Any, NamedTuple

from router_client.errors import (
    Conflict,
    EventRouterError,
    Forbidden,
    InvalidInput,
    NotFound,
    NotStored,
    Overloaded,
    PreconditionFailed,
    QuotaReached,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from router_node.edges.bodies import RequestTimeout
from router_node.edges.problems import HeadTooLarge, MethodNotAllowed, Unexpected, UnsupportedMediaType

Json = dict[str, Any]

WITH_PARAMETERS = (400, 500)
"""What any request may meet: an unknown parameter, and a fault of the node."""
WITH_BODY = (408, 413, 415)
WITH_ACCESS = (401, 403, 429, 503)
"""What whoever has to say who they are may meet; 503: credentials cannot be checked now."""


class Problem(NamedTuple):
    """A kind of error: when it comes, and one example."""

    means: str
    example: EventRouterError


PROBLEMS = (
    Problem(
        "The request is wrong: `field` names the parameter, member or header. Sent again as it is, it fails again.",
        InvalidInput("must be an integer from 0 to 9", field="priority"),
    ),
    Problem(
        "No credentials came, or none that are valid now.", Unauthenticated("send a key, as authorization: Bearer KEY")
    ),
    Problem("Who asks is known, and no policy allows it.", Forbidden("key:billing may not change the cluster")),
    Problem(
        "Who asks has made as many durable subscriptions as its policies allow.",
        QuotaReached("key:billing has made 50 durable subscriptions that are there; delete one first", field="name"),
    ),
    Problem("There is no such thing, or nothing at this address.", NotFound("no dead letter 7-0", field="id")),
    Problem(
        "The address does not offer this method; the header `Allow` lists those it does.",
        MethodNotAllowed("PATCH is not offered at /v1/events"),
    ),
    Problem(
        "The head or the body of the request did not arrive in time.",
        RequestTimeout("the body took longer than 30 s", field="body"),
    ),
    Problem(
        "The request contradicts what is there.",
        Conflict("billing has a backlog of 3 events; add ?backlog=discard to lose them", field="name"),
    ),
    Problem(
        "A conflict: the cluster is set to store no events, and this needs them.",
        NotStored("events are not stored here; to have those to come stored, set persist"),
    ),
    Problem(
        "It was changed since you looked: read it again, then repeat your change.",
        PreconditionFailed(
            "billing was changed: it is at revision 43, not 42; read it again, then repeat your change",
            field="revision",
        ),
    ),
    Problem(
        "A body, a batch or an event is beyond its limit.",
        TooLarge("20000 events; the limit is 10000 a request", field="body"),
    ),
    Problem(
        "The body is of a type that this address does not take, or encoded.",
        UnsupportedMediaType("text/xml; this takes application/json", field="content-type"),
    ),
    Problem(
        "Nothing was accepted: try again after `retry_after_s`, which is the header `Retry-After` too.",
        Overloaded("too many events wait to be appended", retry_after_s=1.0),
    ),
    Problem(
        "The same: who asks has had what its policies allow it a second, or as many connections as it may have.",
        RateLimited("key:billing may make 50 requests a second", retry_after_s=0.25),
    ),
    Problem(
        "The head of the request has too many bytes or headers.",
        HeadTooLarge("at most 65536 bytes and 100 headers", field="head"),
    ),
    Problem(
        "A fault of the node; its log explains it under the id in `detail`.",
        Unexpected("unexpected; the node's log has it as 3f2a9c51d0b7"),
    ),
    Problem(
        "A part that the request needs is away: try again.",
        Unavailable("the store cannot answer: PostgreSQL is away"),
    ),
)

_BY_STATUS = {problem.example.status: problem for problem in reversed(PROBLEMS)}
"""The first of each status, which says what the others of it are cases of."""

SCHEMA: Json = {
    "type": "object",
    "description": "An error, after RFC 9457. Programs go by `code`, people by `detail`.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Where this kind of error is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "enum": [problem.example.code for problem in PROBLEMS]},
        "detail": {"type": "string", "description": "What is wrong, and what to do about it."},
        "field": {"type": "string", "description": "The parameter, member or header that is at fault."},
        "retry_after_s": {
            "type": "number",
            "minimum": 0,
            "description": "Of `overloaded` and `rate_limited`: when to try again.",
        },
    },
}


def refusal(status: int) -> Json:
    """Refer to the answer of an error."""
    return {"$ref": f"#/components/responses/{_BY_STATUS[status].example.code}"}


def responses() -> Json:
    """Return the answers of all errors, by code."""
    return {problem.example.code: _response(problem) for problem in PROBLEMS}


def _response(problem: Problem) -> Json:
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem.example.problem()}
    found: Json = {"description": problem.means, "content": {"application/problem+json": content}}
    if isinstance(problem.example, Overloaded):
        seconds = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}, "example": 1}
        found["headers"] = {"Retry-After": seconds}
    if isinstance(problem.example, MethodNotAllowed):
        allow = {"description": "The methods offered.", "schema": {"type": "string"}, "example": "GET, HEAD"}
        found["headers"] = {"Allow": allow}
    return found
