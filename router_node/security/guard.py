"""The gate of a node whose security is on: from what a client shows to what it may do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from router_client.errors import Unauthenticated
from router_node.security.api_key import PREFIX, read
from router_node.security.directory import Directory, refused
from router_node.security.gate import Access
from router_node.security.principal import Certificate, Credentials, Principal
from router_node.security.standing import KeyProof, NameProof, Proof, Standing

MAX_TOKEN_CHARS = 8192
MAX_NAME_CHARS = 256

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Tokens(Protocol):
    """What verifies JSON Web Tokens."""

    async def verify(self, token: str) -> Proof:
        """Return what a token proves. Raises Unauthenticated, and Unavailable while no key set is known."""
        ...


class Guard:
    """See Gate. ``tokens`` is None where no JSON Web Tokens are taken; ``now`` is in seconds since 1970.

    Of a certificate and a token the token counts, and a bad one is refused whatever the certificate says.
    """

    def __init__(
        self, directory: Directory, tokens: Tokens | None, certificate_name: str, now: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._certificate_name = certificate_name
        self._now = now

    async def admit(self, credentials: Credentials) -> Access:
        """See Gate."""
        return Standing(await self._proof(credentials), self._directory, self._now)

    async def _proof(self, credentials: Credentials) -> Proof:
        token = credentials.token
        if token is None:
            if credentials.certificate is None:
                raise Unauthenticated("show an API key or a token: Authorization: Bearer <key>")
            return NameProof(principal_of(credentials.certificate, self._certificate_name))
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated(f"a token has at most {MAX_TOKEN_CHARS} characters")
        if self._tokens is None or token.startswith(PREFIX):
            return KeyProof(read(token), self._directory, self._now)
        return await self._tokens.verify(token)


def principal_of(certificate: Certificate, which: str) -> Principal:
    """Return whom a certificate proves: by its common name, or (``uri``) by its first alternative name that is a URI.

    Raises Unauthenticated when it has none, or one that is no name.
    """
    if which == "uri":
        name = next((each for each in certificate.alternatives if ":" in each), "")
    else:
        name = certificate.subject
    return Principal(f"cert:{checked_name(name)}")


def checked_name(name: object) -> str:
    """Return a name out of a credential. Raises Unauthenticated for one that is no name."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS or _CONTROL.search(name):
        raise refused()
    return name
