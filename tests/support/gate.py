"""A gate whose keys and policies a test changes as it likes, with the semantics of the real one and no store."""

from __future__ import annotations

from typing import Any

from router_client.errors import Unauthenticated
from router_node.security.gate import Access
from router_node.security.policy import BUILT_IN, Grants, Limits, Policy
from router_node.security.principal import Credentials, Principal


class KeyRing:
    """Knows principals by token, and certificates by their subject. See Gate."""

    def __init__(self) -> None:
        self._holders: dict[str, _Holder] = {}

    def give(self, token: str, *policies: Policy | str, **limits: Any) -> str:
        """Let a token in, with policies, or roles by name, and limits; again to change them. Returns the token."""
        built_in = {policy.name: policy for policy in BUILT_IN}
        granted = [built_in[each] if isinstance(each, str) else each for each in policies]
        holder = self._holders.setdefault(token, _Holder(Principal(f"key:{token}")))
        holder.change(Grants(granted), Limits(**limits))
        return token

    def revoke(self, token: str) -> None:
        """Have a token be worth nothing from now on."""
        self._holders.pop(token).over = True

    async def admit(self, credentials: Credentials) -> Access:
        """See Gate."""
        shown = credentials.token
        if shown is None and credentials.certificate is not None:
            shown = credentials.certificate.subject
        if shown not in self._holders:
            raise Unauthenticated("no such key" if shown else "no credentials")
        return self._holders[shown]


class _Holder:
    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self._limits = Limits()
        self.over = False
        self._grants = Grants(())

    def change(self, grants: Grants, limits: Limits) -> None:
        self._grants, self._limits = grants, limits

    @property
    def limits(self) -> Limits:
        self._check()
        return self._limits

    @property
    def grants(self) -> Grants:
        self._check()
        return self._grants

    def _check(self) -> None:
        if self.over:
            raise Unauthenticated("the key was revoked")
