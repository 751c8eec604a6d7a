"""What lasts on a node, open connections and waiting pulls: counted, limited, and told when the node stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from router_client.errors import Overloaded
from router_node.edges.conduct import Conduct, Fault


class Connections:
    """At most ``limit`` lasting requests; a stopping node asks each to end, and waits."""

    def __init__(self, limit: int, conduct: Conduct) -> None:
        self._limit = limit
        self.conduct = conduct
        self._enders: dict[object, Callable[[], None]] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._enders)

    @contextmanager
    def admitted(self, end: Callable[[], None]) -> Iterator[None]:
        """Count one request while the context lasts; ``end`` asks it to end soon (at once, when draining already).

        Raises Overloaded beyond the limit.
        """
        if len(self._enders) >= self._limit:
            self.conduct.passing(Fault.REFUSED_CONNECTIONS)
            raise Overloaded(f"this node serves {self._limit} connections already")
        key = object()
        self._enders[key] = end
        self._none_left.clear()
        try:
            if self.draining:
                end()
            yield
        finally:
            del self._enders[key]
            if not self._enders:
                self._none_left.set()

    async def drain(self, timeout_s: float) -> bool:
        """Ask all to end and return whether they did in time."""
        self.draining = True
        for end in list(self._enders.values()):
            end()
        try:
            async with asyncio.timeout(timeout_s):
                await self._none_left.wait()
        except TimeoutError:
            return False
        return True
