"""Filters over HTTP: tried against an event, and explained."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from router_node.contract import FilterDesk
from router_node.edges.bodies import Bodies, query
from router_node.edges.door import access_of
from router_node.edges.problems import json_response


class FilterRoutes:
    """Handlers of /v1/filters."""

    def __init__(self, desk: FilterDesk, bodies: Bodies) -> None:
        self._desk = desk
        self._bodies = bodies

    async def test(self, request: Request) -> Response:
        """POST /v1/filters/test."""
        query(request)
        return json_response(await self._desk.test(await self._bodies.json(request), access=access_of(request)))
