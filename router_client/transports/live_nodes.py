"""Finding a node to talk to, for who knows only Redis."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable

from partitioning.errors import RedisUnavailable
from partitioning.membership import Member, Roster
from router_client.errors import ConnectionLost


class LiveNodes:
    """Names the nodes that live one after another, in any order; one that drains only when there is no other.

    ``look`` reads the members of the cluster.
    """

    def __init__(self, cluster: str, look: Callable[[], Awaitable[Roster]]) -> None:
        self._cluster = cluster
        self._look = look
        self._tried: set[str] = set()

    async def another(self) -> str:
        """Return the WebSocket URL of a node, of one that was not tried lately if there is such.

        Raises ConnectionLost when none lives, or Redis does not say.
        """
        try:
            roster = await self._look()
        except RedisUnavailable as error:
            raise ConnectionLost(f"which nodes live is not known: {error}") from error
        urls = _urls(roster.members[name] for name in roster.placed()) or _urls(roster.members.values())
        if not urls:
            raise ConnectionLost(
                f"no node of the cluster {self._cluster} lives that tells its address; start one, and see ER_ADVERTISE"
            )
        if urls <= self._tried:
            self._tried -= urls
        chosen = random.choice(sorted(urls - self._tried))  # noqa: S311 - which node serves is no secret
        self._tried = {*(self._tried & urls), chosen}
        return chosen


def _urls(members: Iterable[Member]) -> set[str]:
    return {url for member in members if (url := _url(str(member.details.get("address") or "")))}


def _url(address: str) -> str | None:
    """Return the WebSocket URL of what a node tells: ``host:port``, or an http:// or https:// URL."""
    scheme, _, rest = address.rpartition("://")
    if not rest or rest.endswith(":0"):
        return None
    return f"{scheme.replace('http', 'ws', 1) or 'ws'}://{rest}"
