"""Requests that last, streams and waiting pulls: counted, ended with the node, and looked at while they are open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from router_node.edges.connections import Connections
from router_node.edges.watch import Watch
from router_node.security.gate import Access
from router_node.security.seats import Seats


class Lasting:
    """The three together."""

    def __init__(self, connections: Connections, watch: Watch, seats: Seats) -> None:
        self.conduct = connections.conduct
        self._connections = connections
        self._watch = watch
        self._seats = seats

    @asynccontextmanager
    async def admitted(self, access: Access, end: Callable[[], None], look: Callable[[], None]) -> AsyncIterator[None]:
        """Hold a place while the block runs; ``end`` asks it to end soon, ``look`` to see whether it still may last.

        Raises Overloaded, and RateLimited where its principal has as many as it may.
        """
        leave = await self._seats.take(access)
        try:
            with self._connections.admitted(end), self._watch.over(look):
                yield
        finally:
            leave()
