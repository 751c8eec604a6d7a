"""What operators ask about keys, policies and the audit log; see router_node.access_contract."""

from __future__ import annotations

from typing import Any

from router_client.errors import Forbidden, InvalidInput
from router_client.topics import check_pattern, check_topic
from router_node.audit_trail import AuditTrail, Deed
from router_node.key_desk import KeyDesk
from router_node.policy_desk import PolicyDesk
from router_node.replay_desk import moment_text
from router_node.security.directory import Directory
from router_node.security.directory_sync import DirectorySync
from router_node.security.gate import Access
from router_node.security.policy import LEVELS, Grants, Policy, limits_of
from router_node.security.policy_object import TOPICS, policy_object
from router_node.security.principal import Principal
from router_node.store_calls import stored
from stores.audit import AuditLog, AuditPage, AuditQuery

ACTIONS = ("publish", "subscribe", "read", "dead-letters", "manage")


class AccessDesk:
    """See access_contract.AccessDesk."""

    def __init__(
        self,
        keys: KeyDesk,
        policies: PolicyDesk,
        directory: Directory,
        sync: DirectorySync,
        audit: AuditLog,
        trail: AuditTrail,
    ) -> None:
        self.keys = keys
        self.policies = policies
        self._directory = directory
        self._sync = sync
        self._audit = audit
        self._trail = trail

    def me(self, access: Access) -> dict[str, Any]:
        """See AccessDesk."""
        policies, until = access.grants.policies, access.principal.expires_at
        together = Policy(
            name="together",
            **{each: tuple(dict.fromkeys(p for policy in policies for p in getattr(policy, each))) for each in TOPICS},
            manage=max((policy.manage for policy in policies), key=LEVELS.index, default="none"),
            limits=limits_of(policies),
        )
        allows = policy_object(together)
        del allows["members"]
        return {
            "principal": access.principal.name,
            "expires_at": moment_text(int(until * 1e6)) if until is not None else None,
            "policies": [policy.name for policy in policies],
            "limits": allows.pop("limits"),
            "allows": allows,
        }

    async def can_i(self, access: Access, action: str, topic: str, principal: str | None) -> dict[str, Any]:
        """See AccessDesk."""
        _check_question(action, topic)
        if principal is None or principal == access.principal.name:
            name, policies = access.principal.name, access.grants.policies
        else:
            if not access.grants.may_manage("read"):
                raise Forbidden(f"{access.principal.name} may ask only what it may do itself", field="principal")
            await stored(self._sync.look())
            name, policies = principal, self._policies_of(principal)
        return {
            "principal": name,
            "action": action,
            "topic": topic,
            "allowed": _allows(policies, action, topic),
            "by": [policy.name for policy in policies if _allows([policy], action, topic)],
            "policies": [policy.name for policy in policies],
        }

    async def audit(self, query: AuditQuery) -> AuditPage:
        """See AccessDesk."""
        return await stored(self._audit.query(query))

    def note(self, deed: Deed) -> None:
        """See AccessDesk."""
        self._trail.note(deed)

    def _policies_of(self, principal: str) -> tuple[Policy, ...]:
        """Return the policies of a name, with those that its keys name; what a token would claim is not known."""
        kind, _, name = principal.partition(":")
        keys = self._directory.keys_named(name) if kind == "key" else []
        named = tuple(dict.fromkeys(policy for key in keys for policy in key.policies))
        return self._directory.rights_of(Principal(principal, named))[0].policies


def _check_question(action: str, topic: str) -> None:
    if action not in ACTIONS:
        raise InvalidInput(f"one of {', '.join(ACTIONS)}", field="action")
    if action == "manage":
        if topic not in ("read", "write"):
            raise InvalidInput("of manage, one of read, write", field="topic")
    elif action == "publish":
        check_topic(topic, "topic")
    else:
        check_pattern(topic, "topic")


def _allows(policies: tuple[Policy, ...] | list[Policy], action: str, topic: str) -> bool:
    grants = Grants(policies)
    may = {
        "publish": grants.may_publish,
        "subscribe": grants.may_subscribe,
        "read": grants.may_read_events,
        "dead-letters": grants.may_handle_letters,
        "manage": grants.may_manage,
    }
    return may[action](topic)
