"""Doorbells: the node that appended tells the owner which streams have something. A lost one costs a sweep's time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

from router_node.cluster.frames import Ring
from router_node.cluster.peer_link import PeerLink
from router_node.flow.read import Bell


class Doorbells:
    """Rings this node's own bell or another node's, one frame for all that a group of appends touched."""

    def __init__(self, bell: Bell, link: PeerLink, node_id: str, placement: Callable[[], Mapping[int, str]]) -> None:
        self._bell = bell
        self._link = link
        self._node_id = node_id
        self._placement = placement
        self._rung: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self.rung_elsewhere = 0

    def ring(self, partition: int, priority: int) -> None:
        """Say that a stream has something new."""
        owner = self._placement().get(partition)
        if owner is None or owner == self._node_id:
            self._bell.ring(partition, priority)
            return
        if not self._rung:
            asyncio.get_running_loop().call_soon(self._flush)
        self._rung[owner].add((partition, priority))

    def heard(self, frame: Ring) -> None:
        """Another node rings."""
        for partition, priority in frame.sources:
            self._bell.ring(partition, priority)

    def _flush(self) -> None:
        rung, self._rung = self._rung, defaultdict(set)
        for owner, sources in rung.items():
            self.rung_elsewhere += len(sources)
            self._link.send(owner, Ring([list(source) for source in sources]))
