"""Replays over HTTP, and what else moves a subscription in time: pause, resume, seek."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput, NotFound
from router_client.event import parse_time
from router_client.json_input import only
from router_node.contract import Engine, Management
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.door import access_of
from router_node.edges.limits import Limits
from router_node.edges.paging import DEFAULT_PAGE
from router_node.edges.preconditions import etag
from router_node.edges.problems import json_response
from router_node.edges.standing import own_subscription
from router_node.security.gate import Access
from router_node.security.permission import may_replay, may_see, refusal


class ReplayRoutes:
    """Handlers of /v1/replays and of /v1/subscriptions/{name}/pause|resume|seek."""

    def __init__(self, engine: Engine, management: Management, bodies: Bodies, limits: Limits) -> None:
        self._engine = engine
        self._management = management
        self._bodies = bodies
        self._limits = limits

    async def start(self, request: Request) -> Response:
        """POST /v1/replays."""
        query(request)
        body = await self._bodies.json(request)
        return json_response(await self._management.replays.start(body, access=access_of(request)), 201)

    async def list(self, request: Request) -> Response:
        """GET /v1/replays, newest first."""
        values = query(request, "limit", "cursor")
        limit = integer(values, "limit", 1, self._limits.max_page, DEFAULT_PAGE)
        access = access_of(request)
        found, after = await self._management.replays.list(limit, values.get("cursor"))
        return json_response({"replays": [each for each in found if self._may_see(access, each)], "next": after})

    async def one(self, request: Request) -> Response:
        """GET /v1/replays/{id}."""
        query(request)
        return json_response(await self._one(request))

    async def cancel(self, request: Request) -> Response:
        """DELETE /v1/replays/{id}."""
        query(request)
        replay = await self._one(request)
        own_subscription(self._engine, access_of(request), replay["subscription"])
        return json_response(await self._management.replays.cancel(replay["id"]))

    async def pause(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/pause."""
        query(request)
        body = only(await self._bodies.json(request), "reason")
        reason = body.get("reason", "")
        if not isinstance(reason, str) or len(reason) > 500:
            raise InvalidInput("text of at most 500 characters", field="reason")
        name = own_subscription(self._engine, access_of(request), request.path_params["name"])
        spec = await self._management.pause_subscription(name, reason)
        return json_response(spec, headers=etag(spec["revision"]))

    async def resume(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/resume."""
        query(request)
        only(await self._bodies.json(request))
        name = own_subscription(self._engine, access_of(request), request.path_params["name"])
        spec = await self._management.resume_subscription(name)
        return json_response(spec, headers=etag(spec["revision"]))

    async def seek(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/seek."""
        query(request)
        body = only(await self._bodies.json(request), "to")
        if "to" not in body:
            raise InvalidInput("is required, for example 2026-01-01T00:00:00Z", field="to")
        to = parse_time(body["to"], "to")
        access = access_of(request)
        name = own_subscription(self._engine, access, request.path_params["name"])
        topics = self._engine.topics(name)
        if not may_replay(access, topics, None):
            raise refusal(access, f"read stored events of {', '.join(topics)}, which a seek replays", "to")
        return json_response(await self._management.seek_subscription(name, to))

    async def _one(self, request: Request) -> dict[str, Any]:
        """Return the replay that a request names. Raises NotFound, also for one that who asks may not see."""
        replay = await self._management.replays.one(request.path_params["id"])
        if not self._may_see(access_of(request), replay):
            raise NotFound(f"no replay {replay['id']}", field="id")
        return replay

    def _may_see(self, access: Access, replay: dict[str, Any]) -> bool:
        try:
            topics = self._engine.topics(replay["subscription"])
        except NotFound:
            return access.grants.may_manage("read")  # of a subscription that was deleted
        return may_see(access, topics)
