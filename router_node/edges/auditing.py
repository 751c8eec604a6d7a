"""What is done over HTTP, noted for the audit log: one place says which addresses change what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import EventRouterError, Forbidden
from router_node.access_contract import AccessDesk
from router_node.audit_trail import Deed
from router_node.edges.door import access_of

MAX_OBJECT_CHARS = 512

Handler = Callable[[Request], Awaitable[Response]]


class Auditing:
    """Wraps handlers, so that what they do is noted with who asked and from where.

    A request that was wrong in itself (400, 404, 409) changed nothing and is not noted.
    """

    def __init__(self, desk: AccessDesk) -> None:
        self._desk = desk

    def change(self, action: str, handler: Handler, *, told: bool = False) -> Handler:
        """Note what is done, refused or fails. With ``told`` the answer, which must be small, goes with it."""

        async def handle(request: Request) -> Response:
            response = await self._attempted(action, handler, request)
            details = orjson.loads(response.body) if told else {}
            self._note(action, request, "done", details)
            return response

        return handle

    def attempt(self, action: str, handler: Handler) -> Handler:
        """Note what is refused or fails; what is done is in the log already, by who did it in the same transaction."""

        async def handle(request: Request) -> Response:
            return await self._attempted(action, handler, request)

        return handle

    async def _attempted(self, action: str, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except Forbidden as error:
            self._note(action, request, "refused", {"why": error.detail})
            raise
        except EventRouterError as error:
            if error.status >= 500:
                self._note(action, request, "failed", {"why": error.detail})
            raise

    def _note(self, action: str, request: Request, outcome: str, details: dict[str, Any]) -> None:
        object_ = "/".join(request.path_params.values())[:MAX_OBJECT_CHARS]
        self._desk.note(Deed(access_of(request).principal.name, action, object_, outcome, peer_of(request), details))


def peer_of(request: Request) -> str:
    """Return the address of who connected, empty where there is none (a Unix socket)."""
    return request.client.host if request.client is not None else ""
