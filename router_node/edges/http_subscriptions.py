"""Subscriptions over HTTP: create, change, look, delete, and consume by pull and settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router_client import wire
from router_client.errors import EventRouterError, InvalidInput
from router_client.json_input import only
from router_node.cluster.scopes import public_name
from router_node.contract import Delivery, Engine, Management
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.conduct import Fault
from router_node.edges.door import access_of
from router_node.edges.lasting import Lasting
from router_node.edges.limits import Limits
from router_node.edges.paging import NamePage, cursor_at
from router_node.edges.preconditions import etag, expected
from router_node.edges.problems import json_response
from router_node.edges.settling import settlement
from router_node.edges.standing import no_longer, own_subscription
from router_node.security.gate import Access
from router_node.security.permission import may_see, unknown_subscription

SCANS = 10
"""So many times a listing looks for more when the node's subscriptions are not those of who asks."""
LOOK_S = 0.1
"""The shortest wait of a pull: so long may the engine take to hand over what is there."""


class SubscriptionRoutes:
    """Handlers of /v1/subscriptions."""

    def __init__(
        self,
        engine: Engine,
        management: Management,
        bodies: Bodies,
        lasting: Lasting,
        limits: Limits,
    ) -> None:
        self._engine = engine
        self._management = management
        self._bodies = bodies
        self._lasting = lasting
        self._limits = limits

    async def put(self, request: Request) -> Response:
        """PUT /v1/subscriptions/{name}."""
        query(request)
        body = await self._bodies.json(request)
        access, asked = access_of(request), expected(request)
        created, spec = await self._management.put_subscription(request.path_params["name"], body, asked, access=access)
        return json_response(spec, 201 if created else 200, etag(spec["revision"]))

    async def all(self, request: Request) -> Response:
        """GET /v1/subscriptions, in the order of their names."""
        page = NamePage.asked(query(request, "limit", "cursor"), self._limits.max_page)
        found, after = await self._visible(page, access_of(request))
        return json_response({"subscriptions": [_public(each) for each in found], "next": after})

    async def _visible(self, page: NamePage, access: Access) -> tuple[list[dict[str, Any]], str | None]:
        """Return those of a page that may be seen, and the cursor of the next.

        It looks on for as long as it finds too few, so that a cursor is, but for the last of many scans, a name that
        may be seen: one that may not is nobody's business.
        """
        found: list[dict[str, Any]] = []
        first, most = page.first, page.limit + 1
        for _ in range(SCANS):
            scanned = await self._management.subscriptions(first, most)
            found += [each for each in scanned if may_see(access, each["topics"])]
            if len(found) > page.limit:
                return found[: page.limit], cursor_at(found[page.limit]["name"])
            if len(scanned) < most:
                return found, None
            first, most = f"{scanned[-1]['name']}\0", self._limits.max_page  # the least that comes after that name
        return found, cursor_at(first)

    async def one(self, request: Request) -> Response:
        """GET /v1/subscriptions/{name}."""
        query(request)
        name = request.path_params["name"]
        found = await self._management.subscription(name)
        if not may_see(access_of(request), found["topics"]):
            raise unknown_subscription(name)
        return json_response(_public(found), headers=etag(found["revision"]))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/subscriptions/{name}[?backlog=discard]."""
        backlog = query(request, "backlog").get("backlog", "refuse")
        if backlog not in ("discard", "refuse"):
            raise InvalidInput("one of discard, refuse", field="backlog")
        name = own_subscription(self._engine, access_of(request), request.path_params["name"])
        discard = backlog == "discard"
        await self._management.delete_subscription(name, discard_backlog=discard, expected=expected(request))
        return Response(status_code=204)

    async def pull(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/pull."""
        query(request)
        body = only(await self._bodies.json(request), "max", "wait_s")
        most = integer(body, "max", 1, self._limits.max_pull, min(100, self._limits.max_pull))
        wait_s = self._wait_s(body.get("wait_s", 0))
        access = access_of(request)
        name = own_subscription(self._engine, access, request.path_params["name"])
        puller = _Puller(lambda: no_longer(self._engine, access, name))
        async with self._lasting.admitted(access, puller.stir, puller.look):
            attachment = self._engine.attach(name, puller, most)
            handed_over = False
            try:
                await puller.first(request, wait_s)
                handed_over = not puller.abandoned
            finally:
                attachment.detach(requeue=not handed_over)
        if puller.error is not None and not puller.deliveries:
            raise puller.error
        deliveries = wire.delivery_list(puller.deliveries)
        return Response(b'{"deliveries":%s}' % deliveries, media_type="application/json")

    async def settle(self, request: Request) -> Response:
        """POST /v1/subscriptions/{name}/settle."""
        query(request)
        said = wire.read_settle(await self._bodies.json(request))
        name = own_subscription(self._engine, access_of(request), request.path_params["name"])
        unknown = await self._engine.settle(name, settlement(said))
        if unknown:
            self._lasting.conduct.passing(Fault.UNKNOWN_DELIVERIES, ", ".join(unknown[:5]), len(unknown))
        return json_response({"unknown": unknown})

    def _wait_s(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= self._limits.max_wait_s:
            raise InvalidInput(f"a number from 0 to {self._limits.max_wait_s:g}", field="wait_s")
        return max(float(value), LOOK_S)


def _public(subscription: dict[str, Any]) -> dict[str, Any]:
    return {**subscription, "name": public_name(subscription["name"])}


class _Puller:
    """The consumer behind one pull: it waits for the first deliveries, and takes what came with them."""

    def __init__(self, why_not: Callable[[], EventRouterError | None]) -> None:
        self._why_not = why_not
        self.deliveries: list[Delivery] = []
        self.error: EventRouterError | None = None
        self.abandoned = False
        self._stirred = asyncio.Event()

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self.deliveries += deliveries
        self._stirred.set()

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self.error = error
        self._stirred.set()

    def look(self) -> None:
        """Wait no longer if this may not go on."""
        error = self._why_not()
        if error is not None:
            self.ended(error)

    def stir(self) -> None:
        """Wait no longer: the node stops."""
        self._stirred.set()

    async def first(self, request: Request, wait_s: float) -> None:
        """Return when there is something, after ``wait_s``, or when the client has gone (``abandoned``)."""
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(self._client_leaves(request))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stirred.wait()
            leaving.cancel()

    async def _client_leaves(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.abandoned = True
        self._stirred.set()
