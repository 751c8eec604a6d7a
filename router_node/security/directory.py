"""All keys and policies, in memory: whoever shows a key is known without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from router_client.errors import InvalidInput, Unauthenticated
from router_node.security.api_key import ApiKey
from router_node.security.policy import BUILT_IN, Grants, Limits, Policy, limits_of
from router_node.security.policy_object import policy_from
from router_node.security.principal import Principal
from stores.access import KEY, AccessObject

MAX_KEYS = 100_000
MAX_POLICIES = 10_000
REMEMBERED = 1_000
"""Sets of policies, and members by name, that are remembered; then each starts anew."""

log = structlog.get_logger(__name__)


class Directory:
    """Keys and policies as of the last change that was heard of. ``version`` is raised by each change.

    At most ``MAX_KEYS`` keys and ``MAX_POLICIES`` policies are taken up; any more are named in the log and unknown.
    """

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._policies: dict[str, Policy] = {policy.name: policy for policy in BUILT_IN}
        self._cut_off: dict[str, int] = {}
        self._with_members: tuple[Policy, ...] = ()
        self._memberships: dict[str, tuple[str, ...]] = {}
        self._rights: dict[tuple[str, ...], tuple[Grants, Limits]] = {}
        self.version = 0

    @property
    def keys(self) -> int:
        """How many keys there are, expired ones among them for as long as they are kept."""
        return len(self._keys)

    def key(self, key_id: str) -> ApiKey | None:
        """Return a key; None for one that is not there or was revoked."""
        return None if key_id in self._cut_off else self._keys.get(key_id)

    def keys_with(self, policy: str) -> list[ApiKey]:
        """Return the keys that name a policy."""
        return [key for key in self._keys.values() if policy in key.policies]

    def keys_named(self, name: str) -> list[ApiKey]:
        """Return the keys of a name: they are one principal."""
        return [key for key in self._keys.values() if key.name == name]

    def policy(self, name: str) -> Policy | None:
        """Return a policy, built in or made."""
        return self._policies.get(name)

    def policies(self) -> list[Policy]:
        """Return all policies by name."""
        return [self._policies[name] for name in sorted(self._policies)]

    def policies_of(self, principal: Principal) -> tuple[str, ...]:
        """Return the names of the policies that hold for a principal: those of its credential and of its name."""
        members = self._memberships.get(principal.name)
        if members is None:
            members = tuple(each.name for each in self._with_members if each.has_member(principal.name))
            if len(self._memberships) >= REMEMBERED:
                self._memberships.clear()
            self._memberships[principal.name] = members
        named = tuple(name for name in principal.policies if name in self._policies)
        return tuple(sorted({*named, *members})) if members else named

    def rights_of(self, principal: Principal) -> tuple[Grants, Limits]:
        """Return what a principal may do, and within which limits."""
        names = self.policies_of(principal)
        rights = self._rights.get(names)
        if rights is None:
            policies = [self._policies[name] for name in names]
            rights = Grants(policies), limits_of(policies)
            if len(self._rights) >= REMEMBERED:
                self._rights.clear()
            self._rights[names] = rights
        return rights

    def clear(self) -> None:
        """Know nothing, before everything is taken up anew."""
        self._keys.clear()
        self._policies = {policy.name: policy for policy in BUILT_IN}
        self._policies_changed()

    def apply(self, changes: Iterable[AccessObject]) -> None:
        """Take up changes of the store, in their order."""
        policies_changed = False
        for change in changes:
            try:
                if change.kind == KEY:
                    self._take_key(change)
                else:
                    self._take_policy(change)
                    policies_changed = True
            except (InvalidInput, TypeError, KeyError) as error:
                self._drop(change)
                log.error("a stored object is refused", kind=change.kind, name=change.name, error=str(error))
        if policies_changed:
            self._policies_changed()
        self.version += 1

    def cut_off(self, key_ids: Iterable[str], revision: int) -> None:
        """Know that keys were revoked by a change, before that change itself is taken up."""
        self._cut_off |= {each: revision for each in key_ids if each in self._keys}
        self.version += 1

    def reached(self, revision: int) -> None:
        """Know that all changes up to this one are taken up."""
        if self._cut_off:
            self._cut_off = {each: cut for each, cut in self._cut_off.items() if cut > revision}

    def outlived(self, now_us: int) -> None:
        """Drop keys that have expired."""
        for key_id in [key.id for key in self._keys.values() if key.state(now_us) != "live"]:
            del self._keys[key_id]

    def touch(self) -> None:
        """Have everybody's standing looked at anew."""
        self.version += 1

    def _take_key(self, change: AccessObject) -> None:
        key = ApiKey.from_object(change.body) if change.body is not None else None
        if key is None or key.revoked_at_us is not None:
            self._drop(change)
        elif key.id not in self._keys and len(self._keys) >= MAX_KEYS:
            log.error("too many keys; this one is unknown here", key=key.id, limit=MAX_KEYS)
        else:
            self._keys[key.id] = key

    def _take_policy(self, change: AccessObject) -> None:
        policy = policy_from(change.name, change.body) if change.body is not None else None
        if policy is None:
            self._drop(change)
        elif policy.name not in self._policies and len(self._policies) >= MAX_POLICIES:
            log.error("too many policies; this one is unknown here", policy=policy.name, limit=MAX_POLICIES)
        else:
            self._policies[policy.name] = policy

    def _drop(self, change: AccessObject) -> None:
        if change.kind == KEY:
            self._keys.pop(change.name, None)
        else:
            self._policies.pop(change.name, None)

    def _policies_changed(self) -> None:
        for policy in BUILT_IN:
            self._policies[policy.name] = policy
        self._with_members = tuple(policy for policy in self._policies.values() if policy.members)
        self._memberships.clear()
        self._rights.clear()
        self.version += 1


def refused() -> Unauthenticated:
    """Return the one refusal of all that proves nothing: it does not tell which part was wrong."""
    return Unauthenticated("the API key or token is unknown, wrong, expired or revoked")
