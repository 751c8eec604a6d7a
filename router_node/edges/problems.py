"""Errors as answers: RFC 9457 problem details, never a stack trace."""

from __future__ import annotations

import math
import secrets
from typing import Any

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router_client.errors import EventRouterError, InvalidInput, NotFound, Overloaded, Unauthenticated
from router_node.contract import Published

log = structlog.get_logger(__name__)


class UnsupportedMediaType(InvalidInput):
    """The body is of a type that this address does not take."""

    code, title, status = "unsupported_media_type", "Unsupported media type", 415


class MethodNotAllowed(EventRouterError):
    """The address does not know this method."""

    code, title, status = "method_not_allowed", "Method not allowed", 405


class HeadTooLarge(InvalidInput):
    """The head of a request has too many bytes, or too many headers."""

    code, title, status = "head_too_large", "Request header fields too large", 431


class Unexpected(EventRouterError):
    """A fault of the node's own; the log has it under the id that the detail names."""

    code, title, status = "internal", "Internal error", 500


def unexpected(error: Exception, where: str) -> Unexpected:
    """Log a fault of our own with an id, and return what the client is told: only that id."""
    fault = secrets.token_hex(6)
    log.error("unexpected error", fault=fault, where=where, exc_info=error)
    return Unexpected(f"unexpected; the node's log has it as {fault}")


def problem_response(error: EventRouterError, headers: dict[str, str] | None = None) -> Response:
    """Return an error as an answer, with Retry-After when it says when to try again, or how to authenticate."""
    headers = dict(headers or {})
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="event-router"'
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    body = orjson.dumps(error.problem())
    return Response(body, error.status, headers, media_type="application/problem+json")


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as a JSON answer; bytes within an ``orjson.Fragment`` are spliced in as they are."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def result_object(result: Published | EventRouterError) -> dict[str, Any]:
    """Return what became of one published event, as the JSON object of the wire."""
    if isinstance(result, EventRouterError):
        return {"error": result.problem()}
    return {"id": result.id, "partition": result.partition, "duplicate": result.duplicate}


async def routing_problem(request: Request, error: Exception) -> Response:
    """Answer what the router of paths and methods refuses (Starlette's HTTPException)."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it only
    if error.status_code == 404:
        return problem_response(NotFound(f"nothing is at {request.url.path}"))
    if error.status_code == 405:
        refusal = MethodNotAllowed(f"{request.method} is not offered at {request.url.path}")
        return problem_response(refusal, dict(error.headers or {}))
    return problem_response(EventRouterError(str(error.detail)))


class Guard:
    """ASGI middleware: whatever an application raises becomes a problem, if its answer has not begun yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return
        except EventRouterError as error:
            answer = problem_response(error)
        except Exception as error:  # noqa: BLE001 - the border: it is logged, and answered with an id
            answer = problem_response(unexpected(error, f"{scope['method']} {scope['path']}"))
        else:
            return
        if begun:
            # Half an answer went out; only breaking off tells the client that it is not whole.
            raise ConnectionResetError("an answer broke off")
        await answer(scope, receive, send)
