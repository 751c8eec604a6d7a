"""Doorbells: the owner of a stream is told that it has something. A lost one costs a sweep's time.

The append script itself, which knows the lease, brings the owner what it appends when that is not much, and the owner
has nothing to ask for; else it rings. Of all that is not appended a node tells.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

import structlog

from partitioning.leases import epoch_of
from router_node.cluster.frames import Ring
from router_node.cluster.peer_link import PeerLink
from router_node.log.redis_streams import read_brought
from router_node.pipeline import Pipeline

log = structlog.get_logger(__name__)


class Doorbells:
    """Rings this node's own bell or another node's, one frame for all that a group of appends touched."""

    def __init__(
        self,
        pipeline: Pipeline,
        link: PeerLink,
        node_id: str,
        tokens: Mapping[int, str],
        placement: Callable[[], Mapping[int, str]],
    ) -> None:
        self._pipeline = pipeline
        self._link = link
        self._node_id = node_id
        self._tokens = tokens
        self._placement = placement
        self._rung: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self.rung_elsewhere = 0

    def ring(self, partition: int, priority: int) -> None:
        """Say that a stream has something new."""
        owner = self._placement().get(partition)
        if owner is None or owner == self._node_id:
            self._pipeline.bell.ring(partition, priority)
            return
        if not self._rung:
            asyncio.get_running_loop().call_soon(self._flush)
        self._rung[owner].add((partition, priority))

    def heard(self, frame: Ring) -> None:
        """Another node rings."""
        for partition, priority in frame.sources:
            self._pipeline.bell.ring(partition, priority)

    def brought(self, message: bytes) -> None:
        """An append brings an entry to this node, or rings."""
        try:
            if b"\n" not in message:
                partition, priority = map(int, message.split())
                self._pipeline.bell.ring(partition, priority)
                return
            epoch, entry, before = read_brought(message)
        except ValueError as error:
            log.warning("a doorbell that no node of this version rings", error=str(error))
            return
        token = self._tokens.get(entry.partition)
        if token is not None and epoch_of(token) == epoch:
            self._pipeline.brought(entry, before)

    def _flush(self) -> None:
        rung, self._rung = self._rung, defaultdict(set)
        for owner, sources in rung.items():
            self.rung_elsewhere += len(sources)
            self._link.send(owner, Ring([list(source) for source in sources]))
