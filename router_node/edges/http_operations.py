"""Operations over HTTP: health, metrics and dead letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput, NotFound
from router_node.contract import Management
from router_node.edges.bodies import Bodies, integer, only, query
from router_node.edges.connections import Connections
from router_node.edges.http_events import letter_object
from router_node.edges.limits import Limits
from router_node.edges.problems import json_response

LETTERS_AT_ONCE = 100

Act = Callable[[Sequence[str]], Awaitable[int]]


class OperationRoutes:
    """Handlers of what operators and their machines ask."""

    def __init__(
        self,
        management: Management,
        bodies: Bodies,
        connections: Connections,
        limits: Limits,
        metrics_text: Callable[[], bytes],
    ) -> None:
        self._management = management
        self._bodies = bodies
        self._connections = connections
        self._limits = limits
        self._metrics_text = metrics_text

    async def healthz(self, _: Request) -> Response:
        """GET /healthz: the process and its event loop live; nothing else is asked."""
        return json_response({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        """GET /readyz: whether a load balancer should send requests here."""
        checks = await self._management.checks()
        ready = all(check["ok"] for check in checks.values()) and not self._connections.draining
        status = "draining" if self._connections.draining else "ready" if ready else "not ready"
        return json_response({"status": status, "checks": checks}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """GET /metrics, in the Prometheus text format."""
        return Response(self._metrics_text(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def letters(self, request: Request) -> Response:
        """GET /v1/dead-letters."""
        values = query(request, "subscription", "reason", "limit", "cursor")
        filters = {"subscription": values.get("subscription"), "reason": values.get("reason")}
        limit = integer(values, "limit", 1, self._limits.max_page, 100)
        page = await self._management.dead_letters(filters, limit, values.get("cursor"))
        return json_response({"dead_letters": [letter_object(letter) for letter in page.letters], "next": page.next})

    async def letter(self, request: Request) -> Response:
        """GET /v1/dead-letters/{id}."""
        query(request)
        return json_response(letter_object(await self._management.dead_letter(request.path_params["id"])))

    async def delete_letter(self, request: Request) -> Response:
        """DELETE /v1/dead-letters/{id}."""
        query(request)
        letter_id = request.path_params["id"]
        if not await self._management.purge_dead_letters([letter_id]):
            raise NotFound(f"no dead letter {letter_id}", field="id")
        return Response(status_code=204)

    async def replay_letters(self, request: Request) -> Response:
        """POST /v1/dead-letters/replay."""
        return await self._act(request, self._management.replay_dead_letters, "replayed")

    async def purge_letters(self, request: Request) -> Response:
        """POST /v1/dead-letters/purge."""
        return await self._act(request, self._management.purge_dead_letters, "purged")

    async def _act(self, request: Request, act: Act, counted: str) -> Response:
        query(request)
        body = only(await self._bodies.json(request), "ids", "all", "subscription", "reason")
        letter_ids, more = await self._chosen(body)
        done = 0
        for start in range(0, len(letter_ids), LETTERS_AT_ONCE):
            done += await act(letter_ids[start : start + LETTERS_AT_ONCE])
        return json_response({counted: done, "more": more})

    async def _chosen(self, body: dict[str, Any]) -> tuple[list[str], bool]:
        """Return the letters a request names, and whether there are more than one call takes.

        All are found before the first is touched: one that fails again at once must not come round a second time.
        """
        ids = body.get("ids")
        if (ids is None) == (body.get("all") is not True):
            raise InvalidInput('give either "ids" or "all": true', field="ids")
        if ids is not None:
            only(body, "ids")
            if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
                raise InvalidInput("a list of dead letter ids", field="ids")
            if len(ids) > self._limits.max_letters:
                raise InvalidInput(f"at most {self._limits.max_letters} ids", field="ids")
            return ids, False
        filters = {name: _optional_text(body, name) for name in ("subscription", "reason")}
        found: list[str] = []
        cursor: str | None = None
        while len(found) < self._limits.max_letters:
            limit = min(self._limits.max_page, self._limits.max_letters - len(found))
            page = await self._management.dead_letters(filters, limit, cursor)
            found += [letter.id for letter in page.letters]
            cursor = page.next
            if cursor is None:
                return found, False
        return found, True


def _optional_text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput("must be text", field=name)
    return value
