"""Durable subscriptions as the store keeps them: by name, each change with a number of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from router_client.errors import PreconditionFailed

ABSENT, PRESENT = 0, -1
"""What may be expected besides a revision: that there is no such subscription, or that there is one."""


class Put(NamedTuple):
    """A subscription was stored: whether it is new, and the revision of this change."""

    created: bool
    revision: int


class SubscriptionChange(NamedTuple):
    """The last change of one subscription: its object as it is now, None when it was removed."""

    revision: int
    name: str
    spec: dict[str, Any] | None


class SubscriptionStore(Protocol):
    """Durable subscriptions by name, each a JSON object. Each change has a revision, higher than all before it.

    ``expected`` is the revision of the last change that the caller knows of, or ABSENT, or PRESENT; None lets anything
    be there. It is compared and the change made in one atomic step, over all nodes. Raises PreconditionFailed.
    """

    async def put(self, name: str, spec: Mapping[str, Any], expected: int | None = None) -> Put:
        """Create or replace."""
        ...

    async def get(self, name: str) -> dict[str, Any] | None:
        """Return the object stored under ``name``, or None."""
        ...

    async def remove(self, name: str, expected: int | None = None) -> bool:
        """Remove and return True, or return False when there was none."""
        ...

    async def revision(self) -> int:
        """Return the revision of the latest change, 0 when there was never one."""
        ...

    async def changes(self, since: int, limit: int) -> list[SubscriptionChange]:
        """Return the first changes after a revision, in order, each subscription once; after 0 come all there are."""
        ...


def check_expected(name: str, found: int, expected: int | None) -> None:
    """Compare with the revision that was found, ABSENT when there is none. Raises PreconditionFailed."""
    if expected is None or expected == found or (expected == PRESENT and found):
        return
    if not found:
        raise PreconditionFailed(f"there is no subscription named {name} (any more)", field="revision")
    if expected == ABSENT:
        raise PreconditionFailed(f"there is a subscription named {name} already", field="revision")
    raise PreconditionFailed(
        f"{name} was changed: it is at revision {found}, not {expected}; read it again, then repeat your change",
        field="revision",
    )
