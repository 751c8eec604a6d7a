"""What the API says of itself."""

from __future__ import annotations

from router_node.edges.openapi.parts import Json, Noun, answer, operation, told
from router_node.edges.openapi.parts import text as _text

_TITLE = {"title": "Event Router", "version": "0.1.0"}


def _document(identifier: str, summary: str, member: str, version: str) -> Json:
    schema = {**told("The document.", **{member: _text(), "info": {"type": "object"}}), "additionalProperties": True}
    return {
        "get": operation(
            identifier, summary, answers={200: answer("The document.", schema, {member: version, "info": _TITLE})}
        )
    }


def _file(identifier: str, summary: str, media_type: str, example: str) -> Json:
    return {
        "get": operation(identifier, summary, answers={200: answer("The file.", _text(), example, media_type)}),
    }


NOUN = Noun(
    "Documents",
    "What the API says of itself.",
    {
        "/openapi.json": _document("getOpenApi", "This document", "openapi", "3.1.0"),
        "/asyncapi.json": _document("getAsyncApi", "The WebSocket protocol, in AsyncAPI 3.0", "asyncapi", "3.0.0"),
        "/docs": _file("getDocs", "A page to read both in; it needs no other server", "text/html", "<!doctype html>"),
        "/docs/docs.css": _file("getDocsStyle", "Its style", "text/css", "body { margin: 0 }"),
        "/docs/docs.js": _file("getDocsScript", "Its script", "text/javascript", "render();"),
    },
)
