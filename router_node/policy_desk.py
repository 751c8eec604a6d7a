"""What operators ask of policies; see access_contract.PolicyDesk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from router_client.errors import Conflict, Forbidden, InvalidInput, NotFound
from router_node.access_contract import Asker
from router_node.audit_trail import AuditTrail, Deed
from router_node.security.directory import MAX_POLICIES, Directory
from router_node.security.directory_sync import DirectorySync
from router_node.security.gate import Access
from router_node.security.policy import BUILT_IN, Policy
from router_node.security.policy_object import policy_from, policy_object
from router_node.store_calls import stored
from stores.access import POLICY, AccessObject, AccessStore


class PolicyDesk:
    """Policies of the cluster; any node answers."""

    def __init__(self, store: AccessStore, directory: Directory, sync: DirectorySync, trail: AuditTrail) -> None:
        self._store = store
        self._directory = directory
        self._sync = sync
        self._trail = trail

    async def all(self) -> list[dict[str, Any]]:
        """See access_contract.PolicyDesk."""
        await stored(self._sync.look())
        return [_named(policy) for policy in self._directory.policies()]

    async def one(self, name: str) -> dict[str, Any]:
        """See access_contract.PolicyDesk."""
        await stored(self._sync.look())
        return _named(self._known(name))

    async def put(self, by: Asker, name: str, body: object) -> tuple[bool, dict[str, Any]]:
        """See access_contract.PolicyDesk."""
        if body == {}:
            raise InvalidInput("a policy says what it allows, such as its members; DELETE takes one away", field="body")
        policy = policy_from(name, body)
        _check_own(name, "it cannot be changed")
        check_cover(by.access, [policy])
        there = await stored(self._store.get(POLICY, name))
        if there.body is None and len(self._directory.policies()) >= MAX_POLICIES:
            raise Conflict(f"there are {MAX_POLICIES} policies, as many as there may be; delete some first")
        await self._change(by, "policy.put", there._replace(body=policy_object(policy)), None)
        return there.body is None, _named(policy)

    async def delete(self, by: Asker, name: str) -> None:
        """See access_contract.PolicyDesk."""
        await stored(self._sync.look())
        _check_own(self._known(name).name, "it cannot be deleted")
        users = self._directory.keys_with(name)
        if users:
            raise Conflict(f"{len(users)} keys name it, such as {users[0].id}; revoke them first", field="name")
        there = await stored(self._store.get(POLICY, name))
        await self._change(by, "policy.delete", there._replace(body=None), self._trail.now_us())

    async def _change(self, by: Asker, action: str, changed: AccessObject, ends_at_us: int | None) -> None:
        deed = Deed(by.access.principal.name, action, changed.name, peer=by.peer, details=changed.body or {})
        revision = await stored(self._store.put(changed, ends_at_us, self._trail.entry(deed)))
        if not revision:
            raise Conflict(f"{changed.name} was changed just now; look at it again", field="name")
        await self._sync.changed(revision)

    def _known(self, name: str) -> Policy:
        policy = self._directory.policy(name)
        if policy is None:
            raise NotFound(f"no policy is named {name}", field="name")
        return policy


def check_cover(access: Access, policies: Iterable[Policy]) -> None:
    """Raise Forbidden when any of these allows what who asks may not do: nobody gives away what they do not have."""
    for policy in policies:
        if not access.grants.cover(policy):
            raise Forbidden(
                f"{access.principal.name} may not give what it does not have, and policy {policy.name} allows more",
                field="policies",
            )


def _check_own(name: str, what: str) -> None:
    if any(policy.name == name for policy in BUILT_IN):
        raise Conflict(f"{name} is built in: {what}", field="name")


def _named(policy: Policy) -> dict[str, Any]:
    return {"name": policy.name, "built_in": policy in BUILT_IN, **policy_object(policy)}
