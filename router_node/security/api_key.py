"""API keys: ``er_<id>_<secret>``. The id finds the key, the secret proves it, and only its SHA-256 is kept.

A slow hash guards passwords that people choose; nobody guesses 256 random bits. Where no key is found, the secret is
compared all the same: how long a refusal takes does not tell which ids exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

PREFIX = "er_"
NOBODYS = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
"""The digest of a secret that nobody has."""

_FORM = re.compile(r"er_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept. Times are microseconds since 1970; None is never.

    ``former_digest`` is that of the secret before the last rotation, good until ``former_until_us``.
    """

    id: str
    name: str
    digest: str
    policies: tuple[str, ...]
    created_at_us: int
    created_by: str
    expires_at_us: int | None = None
    revoked_at_us: int | None = None
    rotated_at_us: int | None = None
    former_digest: str = NOBODYS
    former_until_us: int = 0

    @property
    def principal(self) -> str:
        """The name of the principal that it proves."""
        return f"key:{self.name}"

    def ends_at_us(self) -> int | None:
        """Return when it is worth nothing any more."""
        ends = [each for each in (self.expires_at_us, self.revoked_at_us) if each is not None]
        return min(ends, default=None)

    def state(self, now_us: int) -> str:
        """Return ``live``, ``expired`` or ``revoked``."""
        if self.revoked_at_us is not None:
            return "revoked"
        return "expired" if self.expires_at_us is not None and self.expires_at_us <= now_us else "live"

    def to_object(self) -> dict[str, Any]:
        """Return the JSON object of the store."""
        body = asdict(self)
        if self.former_digest == NOBODYS:
            del body["former_digest"]
        return body

    @classmethod
    def from_object(cls, body: Mapping[str, Any]) -> Self:
        """Read the JSON object of the store."""
        return cls(**{**body, "policies": tuple(body["policies"])})


class Token(NamedTuple):
    """What was shown as an API key: the id of the key it names, and the digest of its secret."""

    id: str
    digest: str


def new_id() -> str:
    """Return the id of a new key."""
    return secrets.token_hex(8)


def new_secret() -> str:
    """Return a secret of 256 bits."""
    return secrets.token_urlsafe(32)


def text_of(key_id: str, secret: str) -> str:
    """Return what the client shows."""
    return f"{PREFIX}{key_id}_{secret}"


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def read(token: str) -> Token:
    """Take apart what was shown; something malformed becomes a key that does not exist."""
    found = _FORM.fullmatch(token)
    if found is None:
        return Token("", digest_of(token))
    return Token(found[1], digest_of(found[2]))


def proven_until(key: ApiKey | None, digest: str, now_us: int) -> float | None:
    """Return until when (µs since 1970, ``inf`` for ever) a secret's digest proves this key; None when it does not."""
    current = hmac.compare_digest(digest, key.digest if key else NOBODYS)
    former = hmac.compare_digest(digest, key.former_digest if key else NOBODYS)
    if key is None or not (current or former) or key.revoked_at_us is not None:
        return None
    until = float("inf") if key.expires_at_us is None else key.expires_at_us
    if not current:
        until = min(until, key.former_until_us)
    return until if now_us < until else None
