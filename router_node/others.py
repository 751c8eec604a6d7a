"""The other nodes of a cluster, as one node's operations need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from router_node.replay_run import Again


class Others(Protocol):
    """The other nodes of the cluster, as operations need them."""

    async def changed(self) -> None:
        """The stored subscriptions changed: return when every live node has taken that up. Raises Unavailable."""
        ...

    async def subscriptions(self, first: str, limit: int) -> list[dict[str, Any]]:
        """Return what each other node tells of its first ``limit`` that are awake and not before ``first`` by name.

        Raises Unavailable.
        """
        ...

    async def replay(self, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        """Have letters of other nodes' partitions delivered again: the ids left for this node, how many were done."""
        ...

    async def purge(self, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        """Have letters purged that halt keys of other nodes' partitions; returns what replay does."""
        ...

    async def queue(self, subscription: str, events: Sequence[Again]) -> tuple[list[Again], list[Again]]:
        """Have events queued for a subscription by the owners of their partitions.

        Returns those left to this node, and those that cannot be queued for now. Raises Unavailable.
        """
        ...

    async def backlog(self, subscription: str) -> int:
        """Return how many events wait for a subscription on the other nodes. Raises Unavailable."""
        ...

    def replays_changed(self) -> None:
        """A replay was begun or ended."""
        ...

    def fault(self) -> str | None:
        """Say why this node is not to be sent work, None when it is."""
        ...


class Alone:
    """No other nodes: an embedded one."""

    async def changed(self) -> None:
        """See Others."""

    async def subscriptions(self, first: str, limit: int) -> list[dict[str, Any]]:
        """See Others."""
        return []

    async def replay(self, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        """See Others."""
        return list(letter_ids), 0

    async def purge(self, letter_ids: Sequence[str]) -> tuple[list[str], int]:
        """See Others."""
        return list(letter_ids), 0

    async def queue(self, subscription: str, events: Sequence[Again]) -> tuple[list[Again], list[Again]]:
        """See Others."""
        return list(events), []

    async def backlog(self, subscription: str) -> int:
        """See Others."""
        return 0

    def replays_changed(self) -> None:
        """See Others."""

    def fault(self) -> str | None:
        """See Others."""
        return None
