"""How many durable subscriptions a client may have made, and in whose name it makes one more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router_client.errors import QuotaReached
from router_node.routing.registry import Registry
from router_node.security.gate import OPEN, Access
from router_node.turns import Turns


class Quotas:
    """Counts what the registry holds. Who has a quota makes one after the other on a node, each known to all nodes
    before the next: several nodes that are asked at once overshoot by one each, not by what is left of the quota.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._turns = Turns()

    @asynccontextmanager
    async def turn(self, name: str, access: Access) -> AsyncIterator[str | None]:
        """Hold the right to put a subscription, until all nodes know it; yields who owns it if it is new.

        Raises QuotaReached when ``access`` may make no more, and Unauthenticated once its credential is over.
        """
        if access is OPEN or name in self._registry:
            yield None
        elif access.limits.subscriptions is None:
            yield access.principal.name
        else:
            owner = access.principal.name
            async with self._turns.of(owner):
                if name not in self._registry:
                    self._check(owner, access.limits.subscriptions)
                yield owner

    def _check(self, owner: str, quota: int | None) -> None:
        made = self._registry.owners.made_by(owner)
        if quota is not None and made >= quota:
            raise QuotaReached(
                f"{owner} has made {made} durable subscriptions that are there, and its quota limits.subscriptions is"
                f" {quota}; delete one first",
                field="name",
            )
