"""The cluster over HTTP: nodes, partitions and growth."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from partitioning.slots import MAX_PARTITIONS
from router_client.errors import InvalidInput, NotFound
from router_client.json_input import only
from router_node.contract import ClusterDesk
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.door import access_of
from router_node.edges.problems import json_response
from router_node.security.permission import check_manage


class ClusterRoutes:
    """Handlers of what operators ask of the cluster."""

    def __init__(self, cluster: ClusterDesk, bodies: Bodies) -> None:
        self._cluster = cluster
        self._bodies = bodies

    async def nodes(self, request: Request) -> Response:
        """GET /v1/nodes."""
        check_manage(access_of(request), "read")
        query(request)
        return json_response({"nodes": await self._cluster.nodes()})

    async def node(self, request: Request) -> Response:
        """GET /v1/nodes/{id}."""
        check_manage(access_of(request), "read")
        query(request)
        name = request.path_params["id"]
        for each in await self._cluster.nodes():
            if each["node"] == name:
                return json_response(each)
        raise NotFound(f"no node {name}", field="id")

    async def drain(self, request: Request) -> Response:
        """POST /v1/nodes/{id}/drain: 202, as the node hands its partitions over after the answer."""
        return await self._set_draining(request, undo=False, status=202)

    async def undrain(self, request: Request) -> Response:
        """DELETE /v1/nodes/{id}/drain: back to work."""
        return await self._set_draining(request, undo=True, status=204)

    async def partitions(self, request: Request) -> Response:
        """GET /v1/partitions."""
        check_manage(access_of(request), "read")
        query(request)
        growth = await self._cluster.growth()
        return json_response({"partitions": await self._cluster.partitions(), "growth": growth})

    async def partition(self, request: Request) -> Response:
        """GET /v1/partitions/{n}."""
        check_manage(access_of(request), "read")
        query(request)
        number = request.path_params["number"]
        for each in await self._cluster.partitions():
            if str(each["partition"]) == number:
                return json_response(each)
        raise NotFound(f"no partition {number}", field="partition")

    async def grow(self, request: Request) -> Response:
        """POST /v1/partitions/grow: 202, as growing goes on after the answer."""
        check_manage(access_of(request), "write")
        query(request)
        body = only(await self._bodies.json(request), "to")
        if "to" not in body:
            raise InvalidInput("how many partitions there are to be", field="to")
        to = integer(body, "to", 1, MAX_PARTITIONS, 0)
        return json_response(await self._cluster.grow(to), 202)

    async def rebalance(self, request: Request) -> Response:
        """POST /v1/partitions/rebalance: 202, as partitions move after the answer."""
        check_manage(access_of(request), "write")
        query(request)
        only(await self._bodies.json(request))
        return json_response({"moving": await self._cluster.rebalance()}, 202)

    async def _set_draining(self, request: Request, *, undo: bool, status: int) -> Response:
        check_manage(access_of(request), "write")
        query(request)
        only(await self._bodies.json(request))
        await self._cluster.drain(request.path_params["id"], undo=undo)
        return Response(status_code=status)
