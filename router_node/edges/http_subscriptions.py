"""Subscriptions over HTTP: create, change, look, delete, and consume by pull and settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from router_client import wire
from router_client.errors import EventRouterError, InvalidInput, NotFound
from router_client.json_input import only
from router_node.contract import Delivery, Engine, Management
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.conduct import Fault
from router_node.edges.door import access_of
from router_node.edges.lasting import Lasting
from router_node.edges.limits import Limits
from router_node.edges.problems import json_response
from router_node.edges.settling import settlement
from router_node.edges.standing import no_longer, own_subscription
from router_node.security.permission import may_see

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
        access = access_of(request)
        created, spec = await self._management.put_subscription(request.path_params["name"], body, access=access)
        return json_response(spec, 201 if created else 200)

    async def all(self, request: Request) -> Response:
        """GET /v1/subscriptions."""
        query(request)
        access = access_of(request)
        found = await self._management.subscriptions()
        return json_response({"subscriptions": [each for each in found if may_see(access, each["topics"])]})

    async def one(self, request: Request) -> Response:
        """GET /v1/subscriptions/{name}."""
        query(request)
        name = request.path_params["name"]
        for spec in await self._management.subscriptions():
            if spec["name"] == name and may_see(access_of(request), spec["topics"]):
                return json_response(spec)
        raise NotFound(f"no subscription is named {name}", field="name")

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/subscriptions/{name}[?backlog=discard]."""
        backlog = query(request, "backlog").get("backlog", "refuse")
        if backlog not in ("discard", "refuse"):
            raise InvalidInput("one of discard, refuse", field="backlog")
        name = own_subscription(self._engine, access_of(request), request.path_params["name"])
        await self._management.delete_subscription(name, discard_backlog=backlog == "discard")
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
