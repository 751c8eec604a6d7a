"""Request bodies and queries: read within their limits, and refused by the name of what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from router_client.errors import EventRouterError, InvalidInput, Overloaded, TooLarge
from router_client.json_input import check_depth, loads
from router_node.edges.limits import Limits
from router_node.edges.problems import UnsupportedMediaType

MAX_PARAMETERS = 20
MAX_BODY_DEPTH = 64
"""Of any body but events, which have a limit of their own: it holds a filter or an event, and what is around it."""


class RequestTimeout(EventRouterError):
    """The body did not arrive in time."""

    code, title, status = "request_timeout", "Request timeout", 408


class Bodies:
    """Reads bodies; all those of publishes under way together stay within ``max_bodies_bytes``."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """Return the body of a publish; its bytes count as held until :meth:`release`.

        Raises TooLarge, Overloaded, RequestTimeout, UnsupportedMediaType (an encoded body) and ClientDisconnect.
        """
        return await self._read(request, self._limits.max_body_bytes)

    def hold(self, body: bytes) -> bool:
        """Hold the body of a publish that was read already, until :meth:`release`; False when it is beyond a limit."""
        if len(body) > self._limits.max_body_bytes or self._held + len(body) > self._limits.max_bodies_bytes:
            return False
        self._held += len(body)
        return True

    def release(self, body: bytes) -> None:
        """Hold a body no longer."""
        self._held -= len(body)

    async def json(self, request: Request) -> Any:
        """Return the JSON body of any other request; no body counts as ``{}``. Raises as :meth:`read`."""
        body = await self._read(request, self._limits.max_control_bytes)
        self.release(body)
        if not body.strip():
            # Of whatever type: clients name one for bodies they do not send.
            return {}
        media_type = content_type(request)
        if media_type not in ("", "application/json"):
            raise UnsupportedMediaType(f"{media_type}; this takes application/json", field="content-type")
        document = loads(body)
        if body.count(b"{") + body.count(b"[") > MAX_BODY_DEPTH:
            check_depth(document, "body", MAX_BODY_DEPTH)
        return document

    async def _read(self, request: Request, limit: int) -> bytes:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("send the body unencoded", field="content-encoding")
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(f"{declared} bytes; the limit is {limit}", field="body")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    self._hold(len(chunk), size + len(chunk), limit)
                    chunks.append(chunk)
                    size += len(chunk)
        except BaseException as error:
            self._held -= size
            if isinstance(error, TimeoutError):
                limit_s = self._limits.body_timeout_s
                raise RequestTimeout(f"the body took longer than {limit_s:g} s", field="body") from error
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _hold(self, more: int, size: int, limit: int) -> None:
        if size > limit:
            raise TooLarge(f"the limit is {limit} bytes", field="body")
        if self._held + more > self._limits.max_bodies_bytes:
            raise Overloaded("too many bytes are being published to this node at once")
        self._held += more


def content_type(request: Request) -> str:
    """Return the media type in lower case, empty when there is none.

    Raises UnsupportedMediaType for a charset that is not UTF-8.
    """
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType("the charset must be UTF-8", field="content-type")
    return media_type.strip().lower()


def query(request: Request, *allowed: str) -> dict[str, str]:
    """Return the query parameters. Raises InvalidInput for one that is unknown, repeated or not UTF-8."""
    raw = request.scope["query_string"]
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise InvalidInput("not a query of URL-encoded UTF-8", field="query") from error
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            offered = f"one of {', '.join(allowed)}" if allowed else "none is known here"
            raise InvalidInput(f"unknown parameter; {offered}", field=name[:64])
        if name in values:
            raise InvalidInput("given more than once", field=name)
        values[name] = value
    return values


def integer(values: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    """Return a whole number of a body or query within its bounds. Raises InvalidInput naming it."""
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput(f"an integer from {low} to {high}", field=name)
    return value
