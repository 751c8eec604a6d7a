"""What a client may do now, from what the directory knows and for as long as its credential is good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from router_client.errors import Unauthenticated
from router_node.security.api_key import Token, proven_until
from router_node.security.directory import Directory, refused
from router_node.security.policy import Grants, Limits
from router_node.security.principal import Principal

NEVER_LOOKED = -1


class Proof(Protocol):
    """A credential that was shown."""

    def principal(self) -> Principal:
        """Return whom it proves now. Raises Unauthenticated when it proves nobody (any more)."""
        ...


class Standing:
    """See Access. It looks again at what it rests on when anything has changed; until then, asking is a comparison."""

    def __init__(self, proof: Proof, directory: Directory, now: Callable[[], float]) -> None:
        self._proof = proof
        self._directory = directory
        self._now = now
        self._version = NEVER_LOOKED
        self._look()

    @property
    def principal(self) -> Principal:
        """See Access."""
        return self._principal

    @property
    def grants(self) -> Grants:
        """See Access."""
        self._check()
        return self._grants

    @property
    def limits(self) -> Limits:
        """See Access."""
        self._check()
        return self._limits

    def _check(self) -> None:
        if self._version != self._directory.version:
            self._look()
        if self._until is not None and self._now() >= self._until:
            raise Unauthenticated("the API key or token has expired")

    def _look(self) -> None:
        version = self._directory.version
        self._principal = self._proof.principal()
        self._until = self._principal.expires_at
        self._grants, self._limits = self._directory.rights_of(self._principal)
        self._version = version


class KeyProof:
    """An API key that was shown: good while its secret is one of the key's."""

    def __init__(self, token: Token, directory: Directory, now: Callable[[], float]) -> None:
        self._token = token
        self._directory = directory
        self._now = now

    def principal(self) -> Principal:
        """See Proof."""
        key = self._directory.key(self._token.id)
        until_us = proven_until(key, self._token.digest, int(self._now() * 1e6))
        if key is None or until_us is None:
            raise refused()
        return Principal(key.principal, key.policies, None if until_us == float("inf") else until_us / 1e6)


class NameProof:
    """A certificate whose chain was verified: good as long as the connection that showed it."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def principal(self) -> Principal:
        """See Proof."""
        return self._principal
