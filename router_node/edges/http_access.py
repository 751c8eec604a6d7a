"""Keys, policies, the audit log, and what one may do, over HTTP."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput
from router_client.event import parse_time
from router_node.access_contract import AccessDesk, Asker
from router_node.edges.auditing import peer_of
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.door import access_of
from router_node.edges.limits import Limits
from router_node.edges.problems import json_response
from router_node.replay_desk import moment_text
from router_node.security.permission import check_manage
from stores.audit import AuditEntry, AuditQuery

NOT_KEPT = {"cache-control": "no-store"}


class AccessRoutes:
    """Handlers of /v1/keys, /v1/policies, /v1/audit and /v1/auth."""

    def __init__(self, desk: AccessDesk, bodies: Bodies, limits: Limits) -> None:
        self._desk = desk
        self._bodies = bodies
        self._limits = limits

    async def keys(self, request: Request) -> Response:
        """GET /v1/keys[?limit=&cursor=], by id."""
        check_manage(access_of(request), "read")
        values = query(request, "limit", "cursor")
        limit = integer(values, "limit", 1, self._limits.max_page, 100)
        found, after = await self._desk.keys.page(limit, values.get("cursor", ""))
        return json_response({"keys": found, "next": after})

    async def create_key(self, request: Request) -> Response:
        """POST /v1/keys: 201 with the key, which is shown this once."""
        by = self._manager(request)
        made = await self._desk.keys.create(by, await self._bodies.json(request))
        return _shown_once(made, 201)

    async def rotate_key(self, request: Request) -> Response:
        """POST /v1/keys/{id}/rotate: the key with its new secret, which is shown this once."""
        by = self._manager(request)
        body = await self._bodies.json(request)
        return _shown_once(await self._desk.keys.rotate(by, request.path_params["id"], body), 200)

    async def revoke_key(self, request: Request) -> Response:
        """DELETE /v1/keys/{id}: the key as it is now, revoked."""
        return json_response(await self._desk.keys.revoke(self._manager(request), request.path_params["id"]))

    async def policies(self, request: Request) -> Response:
        """GET /v1/policies."""
        check_manage(access_of(request), "read")
        query(request)
        return json_response({"policies": await self._desk.policies.all()})

    async def policy(self, request: Request) -> Response:
        """GET /v1/policies/{name}."""
        check_manage(access_of(request), "read")
        query(request)
        return json_response(await self._desk.policies.one(request.path_params["name"]))

    async def put_policy(self, request: Request) -> Response:
        """PUT /v1/policies/{name}: 201 when it was made."""
        by = self._manager(request)
        made, policy = await self._desk.policies.put(by, request.path_params["name"], await self._bodies.json(request))
        return json_response(policy, 201 if made else 200)

    async def delete_policy(self, request: Request) -> Response:
        """DELETE /v1/policies/{name}."""
        await self._desk.policies.delete(self._manager(request), request.path_params["name"])
        return Response(status_code=204)

    async def audit(self, request: Request) -> Response:
        """GET /v1/audit, newest first. Who may read it may read everybody's deeds."""
        check_manage(access_of(request), "read")
        values = query(request, "principal", "action", "object", "from", "to", "limit", "cursor")
        page = await self._desk.audit(
            AuditQuery(
                principal=values.get("principal"),
                action=values.get("action"),
                object=values.get("object"),
                since=parse_time(values["from"], "from") if "from" in values else None,
                until=parse_time(values["to"], "to") if "to" in values else None,
                limit=integer(values, "limit", 1, self._limits.max_page, 100),
                cursor=values.get("cursor"),
            )
        )
        return json_response({"entries": [entry_object(each) for each in page.entries], "next": page.next})

    async def me(self, request: Request) -> Response:
        """GET /v1/auth/me: who asks, and what it may do."""
        query(request)
        return json_response(self._desk.me(access_of(request)))

    async def can_i(self, request: Request) -> Response:
        """GET /v1/auth/can-i?action=&topic=[&principal=]."""
        values = query(request, "action", "topic", "principal")
        for name in ("action", "topic"):
            if name not in values:
                raise InvalidInput("is required", field=name)
        found = await self._desk.can_i(access_of(request), values["action"], values["topic"], values.get("principal"))
        return json_response(found)

    def _manager(self, request: Request) -> Asker:
        query(request)
        check_manage(access_of(request), "write")
        return Asker(access_of(request), peer_of(request))


def entry_object(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the JSON object of the API."""
    shown = entry._asdict()
    return {"at": moment_text(shown.pop("at_us")), **shown}


def _shown_once(key: dict[str, Any], status: int) -> Response:
    response = json_response(key, status)
    response.headers.update(NOT_KEPT)
    return response
