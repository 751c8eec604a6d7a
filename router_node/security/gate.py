"""What the edges ask of security: who is this, and what may it do now."""

from __future__ import annotations

from typing import Protocol

from router_node.security.policy import UNRESTRICTED, Grants, Limits
from router_node.security.principal import ANYONE, Credentials, Principal


class Access(Protocol):
    """One client's standing. It is held as long as the request or connection lasts, and asked at each step."""

    @property
    def principal(self) -> Principal:
        """Who it is."""
        ...

    @property
    def grants(self) -> Grants:
        """What it may do now. Raises Unauthenticated once its credential was revoked or has expired."""
        ...

    @property
    def limits(self) -> Limits:
        """What bounds it now."""
        ...


class Gate(Protocol):
    """The door of a node."""

    async def admit(self, credentials: Credentials) -> Access:
        """Return the standing of who shows these.

        Raises Unauthenticated, and Unavailable while it cannot be known (no key set could be read yet).
        """
        ...


class _Open:
    principal = ANYONE
    grants = UNRESTRICTED
    limits = Limits()


OPEN: Access = _Open()
"""The standing of everybody where security is off."""


class _Nobody:
    principal = Principal("nobody")
    grants = Grants(())
    limits = Limits()


NOBODY: Access = _Nobody()
"""The standing of who shows no credentials, where that much is let in: it may do nothing."""


class OpenGate:
    """The gate of a node whose security is off: anyone may do anything."""

    async def admit(self, credentials: Credentials) -> Access:
        """See Gate."""
        del credentials
        return OPEN
