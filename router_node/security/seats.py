"""How many connections each principal has open, over the whole cluster; only those that are bounded are counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import structlog

from partitioning.errors import RedisUnavailable
from router_client.errors import RateLimited
from router_node.security.gate import Access

KEPT_UP_S = 3.0
LIVES_S = 10.0
"""How long the connections of a node that died count on."""
ANSWER_S = 0.25

log = structlog.get_logger(__name__)


class Count(Protocol):
    """Who has how many connections, as the cluster knows it."""

    async def take(self, principal: str, mine: int, limit: int | None) -> bool:
        """Tell that this node has ``mine`` connections of a principal; False when the cluster would have too many.

        Raises RedisUnavailable.
        """
        ...


class Seats:
    """The connections of this node. ``shared`` counts those of all (None: this node is alone), ``nodes`` tells how many
    nodes there are: while the others' cannot be asked for, a node gives its share.
    """

    def __init__(self, shared: Count | None = None, nodes: Callable[[], int] = lambda: 1) -> None:
        self._shared = shared
        self._nodes = nodes
        self._taken: Counter[str] = Counter()
        self._left: set[str] = set()

    def __len__(self) -> int:
        return self._taken.total()

    async def take(self, access: Access) -> Callable[[], None]:
        """Count a connection; returns what to call once when it ends. Raises RateLimited when it is one too many."""
        limit = access.limits.connections
        if limit is None:
            return _nothing
        principal = access.principal.name
        self._taken[principal] += 1
        seated = False
        try:
            seated = await self._may_take(principal, self._taken[principal], limit)
        finally:
            if not seated:
                self._leave(principal)
        if not seated:
            raise RateLimited(f"{principal} has its {limit} connections open already", retry_after_s=LIVES_S)
        return lambda: self._leave(principal)

    async def keep_up(self) -> None:
        """Tell the cluster what this node has, until cancelled."""
        while True:
            await asyncio.sleep(KEPT_UP_S)
            if self._shared is None:
                self._left.clear()
                continue
            left, self._left = self._left, set()
            try:
                async with asyncio.timeout(LIVES_S):
                    for principal in {*self._taken, *left}:
                        await self._shared.take(principal, self._taken[principal], None)
            except (RedisUnavailable, TimeoutError) as error:
                self._left |= left
                log.warning("the count of connections cannot be kept up", error=str(error) or "time-out")

    async def _may_take(self, principal: str, mine: int, limit: int) -> bool:
        if self._shared is not None:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await self._shared.take(principal, mine, limit)
            except (RedisUnavailable, TimeoutError):
                limit = max(1, limit // max(1, self._nodes()))
        return mine <= limit

    def _leave(self, principal: str) -> None:
        self._taken[principal] -= 1
        if not self._taken[principal]:
            del self._taken[principal]
            self._left.add(principal)


def _nothing() -> None:
    pass
