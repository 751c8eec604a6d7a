"""Who asks: what a client shows, and whom that proves it to be."""

from __future__ import annotations

from typing import NamedTuple


class Certificate(NamedTuple):
    """A client certificate whose chain was verified, by this node's TLS or by a trusted load balancer."""

    subject: str
    """The common name; empty when it has none."""
    alternatives: tuple[str, ...] = ()
    """Alternative names (URI and DNS) in their order."""


class Credentials(NamedTuple):
    """What came with a request or a connection. ``peer`` is the address of who connected, for the log."""

    token: str | None = None
    """An API key or a JSON Web Token: of ``Authorization: Bearer``, or of a WebSocket's hello. Never logged."""
    certificate: Certificate | None = None
    peer: str = ""


class Principal(NamedTuple):
    """Who a client is: a name that tells the kind too, such as ``key:billing``, ``jwt:alice`` or ``cert:scanner-7``."""

    name: str
    policies: tuple[str, ...] = ()
    """The policies that the credential itself names (of a key, or of a token's claim); others name their members."""
    expires_at: float | None = None
    """Seconds since 1970 after which the credential is worth nothing; None when it does not end by itself."""


ANYONE = Principal("anyone")
"""Who a client is where security is off."""
