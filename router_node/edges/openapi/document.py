"""The OpenAPI document, put together from what each noun says. A new noun is one file, and one line here."""

from __future__ import annotations

from importlib.metadata import version

from router_node.edges.openapi import (
    cluster,
    consuming,
    dead_letters,
    deliveries,
    documents,
    events,
    filters,
    health,
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
    health.NOUN,
    documents.NOUN,
)

ABOUT = (
    "Events in, deliveries out, and everything an operator asks of a cluster; any node answers for all of it.\n\n"
    "Errors are problem details (RFC 9457): `code` for programs, `detail` for people, `field` for what is at fault. "
    "Parameters and members that are not described are refused; answers may gain members. What is read with GET may be "
    "asked with HEAD; an address answers 405 to methods it has not. Listings come in pages: `limit`, `cursor`, and the "
    "`next` of the page before.\n\nBefore a request reaches its address, a head beyond its limits is answered with "
    "431, one that is no HTTP with 400, and one that does not arrive in time with 408."
)


OPEN_TO_ALL = (health.NOUN, documents.NOUN)


def document() -> Json:
    """Return the document as a JSON object."""
    schemas: Json = {"Problem": problems.SCHEMA}
    paths: Json = {}
    for noun in NOUNS:
        schemas |= noun.schemas
        for path, operations in noun.paths.items():
            paths[path] = {method: _of(noun, each) for method, each in operations.items()}
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
        "paths": paths,
        "components": {"schemas": schemas, "responses": problems.responses()},
    }


def _of(noun: Noun, operation: Json) -> Json:
    found = {"tags": [noun.name], **operation}
    if noun not in OPEN_TO_ALL:
        found["responses"] = found["responses"] | {
            str(status): problems.refusal(status) for status in problems.WITH_ACCESS
        }
    return found
