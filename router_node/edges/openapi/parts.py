"""The building blocks of the description: operations, parameters, bodies and answers, each with an example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from router_node.edges.openapi.problems import WITH_BODY, WITH_PARAMETERS, refusal

Json = dict[str, Any]
JSON = "application/json"


class Noun(NamedTuple):
    """What the API says of one thing: its ``paths`` with their operations, and the ``schemas`` it brings along."""

    name: str
    about: str
    paths: Mapping[str, Json]
    schemas: Mapping[str, Json] = {}


def operation(
    identifier: str,
    summary: str,
    *,
    answers: Mapping[int, Json],
    errors: Iterable[int] = (),
    description: str = "",
    parameters: Sequence[Json] = (),
    body: Json | None = None,
) -> Json:
    """Describe a method of an address; ``errors`` are statuses besides those that every request may meet."""
    statuses = {*errors, *WITH_PARAMETERS, *(WITH_BODY if body is not None else ())}
    found: Json = {"operationId": identifier, "summary": summary}
    if description:
        found["description"] = description
    if parameters:
        found["parameters"] = list(parameters)
    if body is not None:
        found["requestBody"] = body
    found["responses"] = {str(status): each for status, each in answers.items()}
    found["responses"] |= {str(status): refusal(status) for status in sorted(statuses)}
    return found


def ref(schema: str) -> Json:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def answer(
    description: str, schema: Json, example: Any, media_type: str = JSON, headers: Mapping[str, Json] | None = None
) -> Json:
    """Describe an answer with a body."""
    found: Json = {"description": description, "content": {media_type: {"schema": schema, "example": example}}}
    return {**found, "headers": dict(headers)} if headers else found


def also(described: Json, schema: Json, example: Any, media_type: str) -> Json:
    """Add another form that an answer may come in."""
    return {**described, "content": {**described["content"], media_type: {"schema": schema, "example": example}}}


def empty(description: str) -> Json:
    """Describe an answer without a body."""
    return {"description": description}


def takes(schema: Json, example: Any, media_type: str = JSON, *, required: bool = True) -> Json:
    """Describe a request's body."""
    return {"required": required, "content": {media_type: {"schema": schema, "example": example}}}


def nothing() -> Json:
    """Describe the body of a request that may be left out and has no members."""
    return takes({"type": "object", "additionalProperties": False}, {}, required=False)


def in_query(name: str, schema: Json, description: str, example: Any) -> Json:
    """Describe an optional query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema, "example": example}


def in_path(name: str, schema: Json, description: str, example: Any) -> Json:
    """Describe a part of the path."""
    found = in_query(name, schema, description, example)
    return {**found, "in": "path", "required": True}


def in_header(name: str, schema: Json, description: str, example: Any) -> Json:
    """Describe an optional header of a request."""
    return {**in_query(name, schema, description, example), "in": "header"}


def header(schema: Json, description: str, example: Any) -> Json:
    """Describe a header of an answer."""
    return {"description": description, "schema": schema, "example": example}


def text(description: str = "", **more: Any) -> Json:
    """Return the schema of a text."""
    return _described({"type": "string", **more}, description)


def moment(description: str) -> Json:
    """Return the schema of a time: RFC 3339 with an offset; the router answers with UTC."""
    return text(description, format="date-time")


def integer(low: int, high: int | None, description: str = "", **more: Any) -> Json:
    """Return the schema of a whole number with its bounds."""
    bounds: Json = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return _described({"type": "integer", **bounds, **more}, description)


def number(low: float, high: float | None, description: str = "", **more: Any) -> Json:
    """Return the schema of a number with its bounds."""
    bounds: Json = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return _described({"type": "number", **bounds, **more}, description)


def choice(*values: str, description: str = "", **more: Any) -> Json:
    """Return the schema of one of some words."""
    return _described({"type": "string", "enum": list(values), **more}, description)


def boolean(description: str = "", **more: Any) -> Json:
    """Return the schema of true or false."""
    return _described({"type": "boolean", **more}, description)


def listed(items: Json, description: str = "", **more: Any) -> Json:
    """Return the schema of a list."""
    return _described({"type": "array", "items": items, **more}, description)


def anything(description: str) -> Json:
    """Return the schema of a JSON object of the client's own making."""
    return {"type": "object", "description": description}


def maybe(schema: Json) -> Json:
    """Let a value be null, which counts as left out."""
    if "$ref" in schema or "oneOf" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if isinstance(schema["type"], list):
        return schema  # it may be null already
    return {
        **schema,
        "type": [schema["type"], "null"],
        **({"enum": [*schema["enum"], None]} if "enum" in schema else {}),
    }


def told(description: str, **members: Json) -> Json:
    """Return the schema of an object that a node answers: all members are there, and more may come with versions."""
    return {"type": "object", "description": description, "required": list(members), "properties": members}


def asked(description: str, required: Sequence[str] = (), **members: Json) -> Json:
    """Return the schema of an object that a client sends: what is not described is refused."""
    found: Json = {"type": "object", "description": description, "additionalProperties": False, "properties": members}
    return {**found, "required": list(required)} if required else found


def _described(schema: Json, description: str) -> Json:
    return {**schema, "description": description} if description else schema
