"""Who may do what, as the store keeps it: API keys and policies, each a JSON object."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from stores.audit import AuditEntry

KEY, POLICY = "key", "policy"


class AccessObject(NamedTuple):
    """A key or a policy as of a revision: its object, None when there is none (any more)."""

    kind: str
    name: str
    revision: int
    body: dict[str, Any] | None


class AccessStore(Protocol):
    """Keys and policies by kind and name. Each change has a revision, higher than all before it.

    All methods raise StoreUnavailable when the database is away.
    """

    async def put(self, changed: AccessObject, ends_at_us: int | None, entry: AuditEntry) -> int:
        """Create, replace or (without a body) remove what is there, and log it in the same transaction.

        Returns its new revision, or 0 when ``changed.revision`` is not the one it has, which is that of :meth:`get` (0
        for what was never there): nothing is changed then. ``ends_at_us`` is when it is worth nothing any more, None if
        never.
        """
        ...

    async def get(self, kind: str, name: str) -> AccessObject:
        """Return what is there; without a body when nothing is."""
        ...

    async def of_kind(self, kind: str, limit: int, after: str = "") -> list[AccessObject]:
        """Return the first objects of a kind by name, of those whose names are beyond ``after``."""
        ...

    async def revision(self) -> int:
        """Return the revision of the latest change, 0 when there was never one."""
        ...

    async def changes(self, since: int, limit: int) -> list[AccessObject]:
        """Return the first changes after a revision, in order, each object once and as it is now."""
        ...

    async def expire(self, before_us: int, limit: int) -> int:
        """Remove up to ``limit`` rows of what ended before then; returns how many went. This is no change."""
        ...
