"""The cluster of a node that is alone: it owns every partition and has nobody to hand one to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from itertools import chain
from typing import Any

from router_client.errors import Conflict, NotFound
from router_node.clock import moment_text
from router_node.config import Settings
from router_node.log.port import IngestLog
from router_node.pipeline import Pipeline
from router_node.telemetry.rate import Rate


class EmbeddedCluster:
    """See contract.ClusterDesk."""

    def __init__(
        self,
        pipeline: Pipeline,
        ingest: IngestLog,
        settings: Settings,
        epoch: Callable[[int], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline = pipeline
        self._ingest = ingest
        self._settings = settings
        self._epoch = epoch
        self._started_at_ms = time.time_ns() // 1_000_000
        self._accepted = Rate(monotonic)

    async def nodes(self) -> list[dict[str, Any]]:
        """See ClusterDesk; ``load`` is the mean since somebody last looked."""
        return [
            {
                "node": self._settings.node_id,
                "address": self._settings.listen,
                "version": version("event-router"),
                "started_at": moment_text(self._started_at_ms),
                "seen_s": 0.0,
                "state": "live",
                "partitions": sum(self._epoch(each) > 0 for each in range(self._pipeline.partitions)),
                "consumers": sum(len(dispatch.holders) for dispatch in self._pipeline.registry),
                "unsettled": self._pipeline.settler.unsettled_events,
                "load": round(self._accepted.at(self._pipeline.appender.accepted), 1),
            }
        ]

    async def drain(self, node: str, *, undo: bool) -> None:
        """See ClusterDesk; never done, undone always."""
        if node != self._settings.node_id:
            raise NotFound(f"no node {node}", field="id")
        if not undo:
            raise _alone()

    async def partitions(self) -> list[dict[str, Any]]:
        """See ClusterDesk."""
        backlog = await self._ingest.backlog(range(self._pipeline.partitions))
        now_us = await self._ingest.now_us()
        spilled = self._spilled()
        return [
            {
                "partition": partition,
                "owner": self._settings.node_id if self._epoch(partition) else None,
                "placed": self._settings.node_id,
                "epoch": self._epoch(partition),
                "since": _since(self._epoch(partition)),
                "backlog": {str(level): levels[level] for level in range(9, -1, -1)},
                "spilled": spilled[partition],
                "lag_s": self._pipeline.settler.lag_s(partition, now_us),
            }
            for partition, levels in backlog.items()
        ]

    async def growth(self) -> dict[str, Any] | None:
        """See ClusterDesk; there is never one."""
        return None

    async def grow(self, to: int) -> dict[str, Any]:
        """See ClusterDesk; never done."""
        raise _alone()

    async def rebalance(self) -> int:
        """See ClusterDesk; everything is in its place."""
        return 0

    def _spilled(self) -> Counter[int]:
        spilled: Counter[int] = Counter()
        windows = [dispatch.window.spilled_lanes() for dispatch in self._pipeline.registry]
        for partition, events in chain(self._pipeline.persister.spilled_lanes(), *windows):
            spilled[partition] += events
        return spilled


def _alone() -> Conflict:
    return Conflict("an embedded node has no cluster; `event-router serve` makes one")


def _since(epoch: int) -> str | None:
    # An epoch begins as the log's time in milliseconds.
    return moment_text(epoch) if epoch else None
