"""Nodes and partitions of an embedded router, which is one node that owns everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from router_client.errors import Conflict, NotFound
from router_node.log.port import IngestLog
from router_node.pipeline import Pipeline


class EmbeddedDesk:
    """See contract.ClusterDesk."""

    def __init__(self, pipeline: Pipeline, ingest: IngestLog, node_id: str, epoch: Callable[[int], int]) -> None:
        self._pipeline = pipeline
        self._ingest = ingest
        self._node_id = node_id
        self._epoch = epoch

    async def nodes(self) -> list[dict[str, Any]]:
        """See contract.ClusterDesk."""
        return [{"node": self._node_id, "state": "live", "seen_s": 0.0, "partitions": self._pipeline.partitions}]

    async def drain(self, node: str, *, undo: bool) -> None:
        """See contract.ClusterDesk. Raises Conflict: nobody could take over."""
        if node != self._node_id:
            raise NotFound(f"no node {node} lives", field="id")
        raise Conflict("an embedded node has no cluster that could take its work over", field="id")

    async def partitions(self) -> list[dict[str, Any]]:
        """See contract.ClusterDesk."""
        backlog = await self._ingest.backlog(range(self._pipeline.partitions))
        now_us = await self._ingest.now_us()
        return [
            {
                "partition": partition,
                "owner": self._node_id,
                "placed": self._node_id,
                "epoch": self._epoch(partition),
                "since": None,
                "backlog": {str(level): levels[level] for level in range(9, -1, -1)},
                "spilled": 0,
                "lag_s": self._pipeline.settler.lag_s(partition, now_us),
            }
            for partition, levels in backlog.items()
        ]

    async def growth(self) -> dict[str, Any] | None:
        """See contract.ClusterDesk."""
        return None

    async def grow(self, to: int) -> dict[str, Any]:
        """See contract.ClusterDesk. Raises Conflict: an embedded node's log ends with its process."""
        raise Conflict("an embedded node has a fixed number of partitions", field="to")

    async def rebalance(self) -> int:
        """See contract.ClusterDesk."""
        return 0
