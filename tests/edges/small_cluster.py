"""A cluster of three nodes and four partitions, all of it in memory, that takes one step each time it is looked at."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from router_client.errors import Conflict, InvalidInput, NotFound, Unavailable
from router_node.contract import ClusterDesk

SINCE = "2026-03-01T12:00:00.000Z"


class SmallCluster:
    """See contract.ClusterDesk. While ``held`` nothing moves, while ``away`` nothing is answered."""

    def __init__(self) -> None:
        self.held = False
        self.away = False
        self._looks: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
        self._draining: dict[str, bool] = {"eu/1": False, "node-2": False, "node-3": False}
        self._owners = ["eu/1", "eu/1", "node-2", "node-3"]
        self._placed = list(self._owners)
        self._growth: dict[str, Any] | None = None

    async def looked_at(self, what: str, times: int) -> None:
        """Wait for so many more looks at ``nodes``, ``partitions`` or ``growth``, or in vain while ``away``."""
        async with asyncio.timeout(20):
            for _ in range(times):
                await self._looks[what].acquire()

    async def nodes(self) -> list[dict[str, Any]]:
        self._look("nodes")
        return [
            {
                "node": node,
                "address": "10.0.0.1:8080",
                "version": "0.1.0",
                "started_at": SINCE,
                "seen_s": 0.25,
                "state": "draining" if draining else "live",
                "partitions": self._owners.count(node),
                "consumers": 3,
                "unsettled": 12,
                "load": 1234.5,
            }
            for node, draining in self._draining.items()
        ]

    async def drain(self, node: str, *, undo: bool) -> None:
        if node not in self._draining:
            raise NotFound(f"no node {node}", field="id")
        self._draining[node] = not undo
        live = [name for name, draining in self._draining.items() if not draining]
        self._placed = [each if each in live else live[-1] for each in self._placed]

    async def partitions(self) -> list[dict[str, Any]]:
        self._look("partitions")
        return [
            {
                "partition": number,
                "owner": owner,
                "placed": placed,
                "epoch": 1_772_000_000_000 + number,
                "since": SINCE,
                "backlog": {str(level): {9: 3, 5: 120}.get(level, 0) for level in range(9, -1, -1)},
                "spilled": 7 * number,
                "lag_s": 0.5 * number,
            }
            for number, (owner, placed) in enumerate(zip(self._owners, self._placed, strict=True))
        ]

    async def growth(self) -> dict[str, Any] | None:
        self._look("growth")
        return self._growth

    async def grow(self, to: int) -> dict[str, Any]:
        if self._growth is not None and self._growth["to"] != to:
            raise Conflict(f"growing to {self._growth['to']}", field="to")
        if to <= len(self._owners):
            raise InvalidInput(f"there are {len(self._owners)} partitions; name more", field="to")
        before = len(self._owners)
        new = {"from": before, "to": to, "sealed": before, "passed": 0, "partitions": before, "lanes_waiting": 5}
        self._growth = self._growth or new
        return self._growth

    async def rebalance(self) -> int:
        return self._out_of_place()

    def scatter(self) -> None:
        """Put every partition at another node than its own."""
        self._owners = self._owners[1:] + self._owners[:1]
        self._placed = ["node-2", "node-3", "eu/1", "eu/1"]

    def _out_of_place(self) -> int:
        return sum(owner != placed for owner, placed in zip(self._owners, self._placed, strict=True))

    def _look(self, what: str) -> None:
        self._looks["away" if self.away else what].release()
        if self.away:
            raise Unavailable("away")
        if self.held:
            return
        for number, placed in enumerate(self._placed):
            if self._owners[number] != placed:
                self._owners[number] = placed
                break
        if self._growth is not None:
            self._growth = {**self._growth, "passed": self._growth["passed"] + 1}
            if self._growth["passed"] == self._growth["partitions"]:
                more = ["node-2"] * (self._growth["to"] - len(self._owners))
                self._owners += more
                self._placed += more
                self._growth = None


_: type[ClusterDesk] = SmallCluster
