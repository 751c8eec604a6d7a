"""What the API says of itself: its two documents, and a page to read them in. All are made once, at the start."""

from __future__ import annotations

from importlib.resources import files

import orjson
from starlette.requests import Request
from starlette.responses import Response

from router_node.edges import asyncapi
from router_node.edges.openapi.document import document

PAGE = files("router_node.edges") / "docs_page"
_PAGE_HEADERS = {
    # The page shows what the node itself said; nothing else is to be loaded, run or framed.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


class DocumentRoutes:
    """Handlers of /openapi.json, /asyncapi.json and /docs."""

    def __init__(self) -> None:
        self._openapi = orjson.dumps(document())
        self._asyncapi = orjson.dumps(asyncapi.document())
        self._files = {name: (PAGE / name).read_bytes() for name in ("docs.html", "docs.css", "docs.js")}

    async def openapi(self, _: Request) -> Response:
        """GET /openapi.json."""
        return Response(self._openapi, media_type="application/json")

    async def asyncapi(self, _: Request) -> Response:
        """GET /asyncapi.json."""
        return Response(self._asyncapi, media_type="application/json")

    async def page(self, _: Request) -> Response:
        """GET /docs."""
        return Response(self._files["docs.html"], media_type="text/html", headers=_PAGE_HEADERS)

    async def style(self, _: Request) -> Response:
        """GET /docs/docs.css."""
        return Response(self._files["docs.css"], media_type="text/css", headers=_PAGE_HEADERS)

    async def script(self, _: Request) -> Response:
        """GET /docs/docs.js."""
        return Response(self._files["docs.js"], media_type="text/javascript", headers=_PAGE_HEADERS)
