"""The keys that sign JSON Web Tokens: a JWKS out of a file or from an https:// URL, read again and again.

A set that was read stays in force while its source is away. An unknown key id has it read at once, but no more often
than ``EARLIEST_S`` apart: strangers' tokens cannot make a node call its identity provider all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, OctKey

from router_client.errors import Unavailable
from router_node.destinations.addresses import Addresses, Resolving
from router_node.destinations.webhook_call import check_literal, guarded_session
from router_node.security.algorithms import ALGORITHMS

MAX_BYTES = 1 << 20
MAX_KEYS = 1_000
READ_S = 5.0
EARLIEST_S = 10.0
RETRY_S = 5.0
SHORTEST_SECRET = 32

PUBLIC = ("RSA", "EC", "OKP")
ALL = (*PUBLIC, "oct")

log = structlog.get_logger(__name__)


class KeySetUnreadable(Exception):
    """The JWKS could not be read, or is none."""


class Source(NamedTuple):
    """Where a JWKS comes from: ``read`` gets it, and keys of these ``kinds`` (kty) are taken from it."""

    read: Callable[[], Awaitable[bytes]]
    kinds: tuple[str, ...]


class SigningKey(NamedTuple):
    """A key of the set. ``thumbprint`` tells it from any other, whatever its id."""

    key: Key
    kid: str | None
    algorithm: str | None
    thumbprint: str


class KeySet:
    """The keys in force. ``changed`` hears when they are others than before."""

    def __init__(
        self, source: Source, refresh_s: float, monotonic: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._source = source
        self._refresh_s = refresh_s
        self._monotonic = monotonic
        self._changed = changed
        self._keys: tuple[SigningKey, ...] | None = None
        self._thumbprints: frozenset[str] = frozenset()
        self._tried_at = float("-inf")
        self._turn = asyncio.Lock()
        self.failed_reads = 0

    def has(self, thumbprint: str) -> bool:
        """Tell whether a key is in force."""
        return thumbprint in self._thumbprints

    async def find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        """Return the key of an id that fits an algorithm (without an id: the only one that fits), or None.

        Raises Unavailable while no set was ever read.
        """
        found = self._find(kid, algorithm)
        if found is None and self._monotonic() - self._tried_at >= EARLIEST_S:
            await self.refresh(EARLIEST_S)
            found = self._find(kid, algorithm)
        if self._keys is None:
            raise Unavailable("no keys for tokens could be read yet; try again")
        return found

    async def refresh(self, apart_s: float = 0.0) -> None:
        """Read the set, unless that was tried less than ``apart_s`` ago. What cannot be read leaves it as it is."""
        async with self._turn:
            if self._monotonic() - self._tried_at < apart_s:
                return
            self._tried_at = self._monotonic()
            try:
                async with asyncio.timeout(READ_S):
                    keys = keys_of(await self._source.read(), self._source.kinds)
            except (KeySetUnreadable, OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
                self.failed_reads += 1
                log.warning("the keys for tokens stay as they are", error=str(error) or "no answer in time")
                return
        before, self._keys = self._thumbprints, keys
        self._thumbprints = frozenset(each.thumbprint for each in keys)
        if before != self._thumbprints:
            log.info("keys for tokens", kids=[each.kid for each in keys])
            self._changed()

    async def run(self) -> None:
        """Read the set every ``refresh_s`` seconds, sooner while there is none, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._refresh_s if self._keys is not None else min(RETRY_S, self._refresh_s))

    def _find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        fitting = [
            each
            for each in self._keys or ()
            if each.key.key_type == ALGORITHMS[algorithm]
            and each.algorithm in (None, algorithm)
            and (kid is None or each.kid == kid)
        ]
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None


def keys_of(text: bytes, kinds: Collection[str]) -> tuple[SigningKey, ...]:
    """Read a JWKS. Keys that sign nothing, that are of no kind wanted, or that this version cannot read are left out.

    Raises KeySetUnreadable when it is none, or has a secret that is too short.
    """
    try:
        listed = orjson.loads(text)["keys"]
    except (ValueError, KeyError, TypeError) as error:
        raise KeySetUnreadable('is no JSON object {"keys": [...]}') from error
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise KeySetUnreadable(f"must have a list of at most {MAX_KEYS} keys")
    return tuple(_signing(listed, kinds))


def _signing(listed: Iterable[Any], kinds: Collection[str]) -> Iterable[SigningKey]:
    for each in listed:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or each.get("kty") not in kinds:
            continue
        try:
            key = JWKRegistry.import_key(each)
        except (JoseError, ValueError, TypeError) as error:
            # Not with the key, which may be a secret.
            log.warning("a key for tokens is left out", kid=str(each.get("kid"))[:64], error=type(error).__name__)
            continue
        if isinstance(key, OctKey) and len(key.raw_value) < SHORTEST_SECRET:
            raise KeySetUnreadable(f"has a secret of less than {SHORTEST_SECRET} bytes")
        kid, algorithm = each.get("kid"), each.get("alg")
        yield SigningKey(
            key,
            kid if isinstance(kid, str) else None,
            algorithm if isinstance(algorithm, str) else None,
            key.thumbprint(),
        )


def from_file(path: str) -> Source:
    """Return a file of at most ``MAX_BYTES``; it may hold secrets (``oct``)."""

    def read_now() -> bytes:
        with Path(path).open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1))

    async def read() -> bytes:
        return await asyncio.to_thread(read_now)

    return Source(read, ALL)


def from_url(url: str, addresses: Addresses, resolver: Callable[[], Resolving]) -> Source:
    """Return a URL that is fetched from an address that may be called. Redirects are not followed, and no secrets are
    taken: what is published is none.
    """

    async def read() -> bytes:
        check_literal(url, addresses)
        async with guarded_session(resolver(), addresses.may_be_called) as session:
            response = await session.get(url, allow_redirects=False, headers={"Accept": "application/json"})
            try:
                if response.status != 200:
                    raise KeySetUnreadable(f"{url} answers {response.status}")
                text = bytearray()
                while len(text) <= MAX_BYTES and (chunk := await response.content.read(MAX_BYTES + 1 - len(text))):
                    text += chunk
                return _bounded(bytes(text))
            finally:
                response.close()  # leaving its context would wait for the end of an answer that may have none

    return Source(read, PUBLIC)


def _bounded(text: bytes) -> bytes:
    if len(text) > MAX_BYTES:
        raise KeySetUnreadable(f"is longer than {MAX_BYTES} bytes")
    return text
