"""JSON Web Tokens: verified by a key that the node chose, never by what the token says of itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
import structlog
from joserfc import jws
from joserfc.errors import ExpiredTokenError, JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwt import JWTClaimsRegistry

from router_client.errors import Unauthenticated
from router_node.config import Settings
from router_node.destinations.addresses import Addresses
from router_node.destinations.names import SystemNames
from router_node.security.directory import Directory, refused
from router_node.security.guard import checked_name
from router_node.security.key_set import KeySet, SigningKey, from_file, from_url
from router_node.security.principal import Principal
from router_node.security.standing import Proof

REMEMBERED = 10_000
MAX_POLICIES = 100
LATEST = 253_402_300_799
"""The last second of the year 9999."""

log = structlog.get_logger(__name__)


class Claimed(NamedTuple):
    """Whose tokens are taken, for whom, by which signatures; ``policies`` is the claim that names policies."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    policies: str
    leeway_s: int


class Verified(NamedTuple):
    """What a token that was verified proves, for as long as its key is in force; see Proof."""

    proven: Principal
    thumbprint: str
    keys: KeySet

    def principal(self) -> Principal:
        """See Proof."""
        if not self.keys.has(self.thumbprint):
            raise refused()
        return self.proven


class TokenCheck:
    """Verifies tokens. ``now`` is in seconds since 1970. What was verified is remembered, by its SHA-256, until it
    expires or its key is in force no longer.
    """

    def __init__(self, keys: KeySet, claimed: Claimed, now: Callable[[], float]) -> None:
        self.keys = keys
        self._claimed = claimed
        self._now = now
        self._signatures = _Signatures(algorithms=claimed.algorithms, strict_check_header=False)
        self._remembered: dict[bytes, Verified] = {}

    async def verify(self, token: str) -> Proof:
        """See guard.Tokens."""
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._remembered.get(digest)
        if known is not None and self._is_good(known):
            return known
        verified = await self._verified(token)
        if len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = verified
        return verified

    def _is_good(self, known: Verified) -> bool:
        until = known.proven.expires_at
        return until is not None and self._now() < until and self.keys.has(known.thumbprint)

    async def _verified(self, token: str) -> Verified:
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=self._signatures)
            header = signed.headers()
            kid, algorithm = header.get("kid"), header["alg"]
            plain = "crit" not in header and "b64" not in header
            if not isinstance(kid, str | None) or algorithm not in self._claimed.algorithms or not plain:
                raise refused()
        except (JoseError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise _told(error) from None
        key = await self.keys.find(kid, algorithm)
        if key is None:
            log.debug("a token is refused", reason="no such key", kid=kid and kid[:64])
            raise refused()
        try:
            if not jws.validate_compact(signed, key.key, registry=self._signatures):
                raise refused()
            return self._proven(orjson.loads(signed.payload or b""), key)
        except (JoseError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise _told(error) from None

    def _proven(self, claims: object, key: SigningKey) -> Verified:
        wanted = self._claimed
        if not isinstance(claims, dict):
            raise refused()
        JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=wanted.leeway_s,
            iss={"essential": True, "value": wanted.issuer},
            aud={"essential": True, "value": wanted.audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(claims)
        principal = Principal(
            f"jwt:{checked_name(claims['sub'])}",
            policies_in(claims, wanted.policies),
            min(claims["exp"] + wanted.leeway_s, LATEST),
        )
        return Verified(principal, key.thumbprint, self.keys)


class _Signatures(jws.JWSRegistry):
    """joserfc's signatures, of which only those on the list exist, whatever joserfc thinks of them."""

    max_header_length = 2048

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError(f"{name!r} is not allowed")
        return self.algorithms[name]


def policies_in(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """Return the policies that a claim names: a list, or text with spaces between. ``a.b`` is also b within a."""
    value: Any = claims.get(claim)
    if value is None:
        value = claims
        for part in claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    named = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(dict.fromkeys(each for each in named[:MAX_POLICIES] if isinstance(each, str)))


def token_check(settings: Settings, now: Callable[[], float], directory: Directory) -> TokenCheck:
    """Put together what verifies tokens as the settings say, which name a key set, an issuer and an audience."""
    where, issuer, audience = settings.jwt_keys or "", settings.jwt_issuer or "", settings.jwt_audience or ""
    if where.startswith("https://"):
        source = from_url(where, Addresses(settings.jwt_networks), SystemNames)
    else:
        source = from_file(where)
    keys = KeySet(source, settings.jwt_refresh_s, time.monotonic, directory.touch)
    claimed = Claimed(issuer, audience, settings.jwt_algorithms, settings.jwt_policies_claim, settings.jwt_leeway_s)
    return TokenCheck(keys, claimed, now)


def _told(error: Exception) -> Unauthenticated:
    """Return what is told of a token that is refused: of one that was good, that it has expired; else nothing."""
    log.debug("a token is refused", reason=type(error).__name__)
    return Unauthenticated("the token has expired") if isinstance(error, ExpiredTokenError) else refused()
