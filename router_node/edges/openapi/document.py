"""The OpenAPI document, put together from what each noun says. A new noun is one file, and one line here."""

from __future__ import annotations

from importlib.metadata import version

from router_node.edges.door import OPEN_TO_ALL
from router_node.edges.openapi import (
    audit,
    auth,
    cluster,
    consuming,
    dead_letters,
    deliveries,
    documents,
    events,
    filters,
    health,
    keys,
    policies,
    problems,
    replays,
    subscriptions,
)
from router_node.edges.openapi.parts import Json, Noun

NOUNS: tuple[Noun, ...] = (
    events.NOUN,
    subscriptions.NOUN,
    consuming.NOUN,
    deliveries.NOUN,
    dead_letters.NOUN,
    replays.NOUN,
    filters.NOUN,
    cluster.NODES,
    cluster.PARTITIONS,
    keys.NOUN,
    policies.NOUN,
    auth.NOUN,
    audit.NOUN,
    health.NOUN,
    documents.NOUN,
)

ABOUT = (
    "Events in, deliveries out, and everything an operator asks of a cluster; any node answers for all of it.\n\n"
    "Errors are problem details (RFC 9457): `code` for programs, `detail` for people, `field` for what is at fault. "
    "Parameters and members that are not described are refused; answers may gain members. What is read with GET may be "
    "asked with HEAD; an address answers 405 to methods it has not. Listings come in pages: `limit`, `cursor`, and the "
    "`next` of the page before.\n\nBefore a request reaches its address, a head beyond its limits is answered with "
    "431, one that is no HTTP with 400, and one that does not arrive in time with 408.\n\nWhere security is on (not in "
    "the embedded node, unless it is told so), who asks shows an API key or a token, or a client certificate, and may "
    "do what a policy allows; what it may not see is answered as if it were not there."
)

SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, er_..., or a JSON Web Token of an issuer that the cluster trusts.",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate, shown to the node or to a load balancer that it trusts.",
    },
}


def document() -> Json:
    """Return the document as a JSON object."""
    schemas: Json = {"Problem": problems.SCHEMA}
    paths: Json = {}
    for noun in NOUNS:
        schemas |= noun.schemas
        for path, operations in noun.paths.items():
            paths[path] = {method: _of(noun, path, each) for method, each in operations.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Event Router",
            "version": version("event-router"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The node that this document came from."}],
        "tags": [{"name": noun.name, "description": noun.about} for noun in NOUNS],
        "security": [{scheme: []} for scheme in SCHEMES],
        "paths": paths,
        "components": {"schemas": schemas, "responses": problems.responses(), "securitySchemes": SCHEMES},
    }


def _of(noun: Noun, path: str, operation: Json) -> Json:
    found = {"tags": [noun.name], **operation}
    if path in OPEN_TO_ALL:
        return {**found, "security": []}
    refusals = {str(status): problems.refusal(status) for status in problems.WITH_ACCESS}
    return {**found, "responses": refusals | found["responses"]}
