"""Replays over HTTP, and what else moves a subscription in time: pause, resume, seek."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput
from router_client.event import parse_time
from router_client.json_input import only
from router_node.contract import Management
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.limits import Limits
from router_node.edges.paging import DEFAULT_PAGE
from router_node.edges.preconditions import etag
from router_node.edges.problems import json_response


class ReplayRoutes:
    """Handlers of /v1/replays and of /v1/subscriptions/{name}/pause|resume|seek."""

    def __init__(self, management: Management, bodies: Bodies, limits: Limits) -> None:
        self._management = management
        self._bodies = bodies
        self._limits = limits

    async def start(self, request: Request) -> Response:
        """POST /v1/replays."""
        query(request)
        return json_response(await self._management.replays.start(await self._bodies.json(request)), 201)

    async def list(self, request: Request) -> Response:
        """GET /v1/replays, newest first."""
        values = query(request, "limit", "cursor")
        limit = integer(values, "limit", 1, self._limits.max_page, DEFAULT_PAGE)
        found, after = await self._management.replays.list(limit, values.get("cursor"))
        return json_response({"replays": found, "next": after})

    async def one(self, request: Request) -> Response:
        """GET /v1/replays/{id}."""
        query(request)
        return json_response(await self._management.replays.one(request.path_params["id"]))

    async def cancel(self, request: Request) -> Response:
        """DELETE /v1/replays/{id}."""
        query(request)
        return json_response(await self._management.replays.cancel(request.path_params["id"]))

    async def pause(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/pause."""
        query(request)
        body = only(await self._bodies.json(request), "reason")
        reason = body.get("reason", "")
        if not isinstance(reason, str) or len(reason) > 500:
            raise InvalidInput("text of at most 500 characters", field="reason")
        spec = await self._management.pause_subscription(request.path_params["name"], reason)
        return json_response(spec, headers=etag(spec["revision"]))

    async def resume(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/resume."""
        query(request)
        only(await self._bodies.json(request))
        spec = await self._management.resume_subscription(request.path_params["name"])
        return json_response(spec, headers=etag(spec["revision"]))

    async def seek(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/seek."""
        query(request)
        body = only(await self._bodies.json(request), "to")
        if "to" not in body:
            raise InvalidInput("is required, for example 2026-01-01T00:00:00Z", field="to")
        to = parse_time(body["to"], "to")
        return json_response(await self._management.seek_subscription(request.path_params["name"], to))
