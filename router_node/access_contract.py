"""What the edges may ask about who may do what: keys, policies and the audit log."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from router_node.audit_trail import Deed
from router_node.security.gate import Access
from stores.audit import AuditPage, AuditQuery


class Asker(NamedTuple):
    """Who asks, and the address of where from."""

    access: Access
    peer: str = ""


class KeyDesk(Protocol):
    """API keys, to operators. All raise Unavailable when the store is away.

    A key is an object: {"id", "name", "policies", "state": "live"|"expired"|"revoked", "created_at", "created_by",
    "expires_at", "revoked_at", "rotated_at", "former_until"}. Nobody makes or rotates a key that may do what they
    themselves may not: Forbidden.
    """

    async def page(self, limit: int, after: str) -> tuple[list[dict[str, Any]], str | None]:
        """Return the first keys by id beyond ``after``, and where the next page begins, None for the last."""
        ...

    async def create(self, by: Asker, body: object) -> dict[str, Any]:
        """Make a key as the body of POST /v1/keys says; returns it with its ``key``, which is shown this once.

        Raises InvalidInput, Forbidden, and Conflict when there are as many as there may be.
        """
        ...

    async def rotate(self, by: Asker, key_id: str, body: object) -> dict[str, Any]:
        """Give a key a new secret; returns it as :meth:`create` does. The one before is good for ``grace_s`` more.

        Raises NotFound, InvalidInput, Forbidden and Conflict (it is no longer live, or was changed just now).
        """
        ...

    async def revoke(self, by: Asker, key_id: str) -> dict[str, Any]:
        """End a key, on all nodes; one that has ended stays so. Raises NotFound and Conflict."""
        ...


class PolicyDesk(Protocol):
    """Policies, to operators. All raise Unavailable when the store is away."""

    async def all(self) -> list[dict[str, Any]]:
        """Return all policies by name, each with its ``name`` and whether it is ``built_in``."""
        ...

    async def one(self, name: str) -> dict[str, Any]:
        """Return one. Raises NotFound."""
        ...

    async def put(self, by: Asker, name: str, body: object) -> tuple[bool, dict[str, Any]]:
        """Make or replace one; returns (made, the policy).

        Raises InvalidInput, Forbidden (it allows what who asks may not do) and Conflict (built in, or changed just
        now).
        """
        ...

    async def delete(self, by: Asker, name: str) -> None:
        """Remove one. Raises NotFound, and Conflict while a key names it."""
        ...


class AccessDesk(Protocol):
    """Who may do what, and who did."""

    @property
    def keys(self) -> KeyDesk:
        """The desk for API keys."""
        ...

    @property
    def policies(self) -> PolicyDesk:
        """The desk for policies."""
        ...

    def me(self, access: Access) -> dict[str, Any]:
        """Return {"principal", "expires_at", "policies", "allows", "limits"} of who asks."""
        ...

    async def can_i(self, access: Access, action: str, topic: str, principal: str | None) -> dict[str, Any]:
        """Return {"principal", "action", "topic", "allowed", "by": [policies], "policies": [all that hold]}.

        Raises InvalidInput, and Forbidden for asking about another principal without ``manage``.
        """
        ...

    async def audit(self, query: AuditQuery) -> AuditPage:
        """Query the audit log. Raises InvalidInput and Unavailable."""
        ...

    def note(self, deed: Deed) -> None:
        """Note what was done, for the audit log. Never waits."""
        ...
