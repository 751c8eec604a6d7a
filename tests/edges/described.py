"""What the node says of its API, for tests to hold against what it does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator, FormatChecker

from router_node.edges.openapi.document import document

DOCUMENT = document()
Json = dict[str, Any]


class Operation(NamedTuple):
    """One method of an address, as it is described."""

    method: str
    path: str
    said: Json

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"


def operations() -> Iterator[Operation]:
    for path, item in DOCUMENT["paths"].items():
        for method, said in item.items():
            yield Operation(method, path, said)


def resolved(place: Json, root: Json = DOCUMENT) -> Any:
    """Follow a reference, if it is one."""
    while "$ref" in place:
        found: Any = root
        for name in place["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        place = found
    return place


def faults(value: Any, schema: Json, root: Json = DOCUMENT) -> list[str]:
    """Return what a schema has against a value. Objects have no members that are not described."""
    return [f"{error.json_path}: {error.message[:300]}" for error in checker(schema, root).iter_errors(value)]


def checker(schema: Json, root: Json = DOCUMENT) -> Draft202012Validator:
    """Return a schema as :func:`faults` takes it, to be used often."""
    whole = {**_closed(schema), "components": _closed(root["components"])}
    return Draft202012Validator(whole, format_checker=FormatChecker(["date-time"]))


def _closed(place: Any) -> Any:
    found = copy.deepcopy(place)
    _close(found)
    return found


def _close(place: Any) -> None:
    if isinstance(place, dict):
        if place.get("type") == "object" and isinstance(place.get("properties"), dict):
            place.setdefault("additionalProperties", False)
        for name, each in place.items():
            if name not in ("example", "examples", "value", "enum", "const"):
                _close(each)
    elif isinstance(place, list):
        for each in place:
            _close(each)


def examples(media: Json) -> Iterator[Any]:
    """Yield the examples of a body."""
    if "example" in media:
        yield media["example"]
    for each in media.get("examples", {}).values():
        yield each["value"]


def bodies(operation: Operation) -> Iterator[tuple[str, Json, Any]]:
    """Yield each example of a request's body: (media type, schema, value)."""
    for media_type, media in operation.said.get("requestBody", {}).get("content", {}).items():
        for value in examples(media):
            yield media_type, media["schema"], value
