"""One call of a webhook: a signed POST that never lasts longer, reads more or goes elsewhere than it should."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from router_client.cloudevents import to_binary, to_structured
from router_client.errors import EventRouterError, InvalidInput
from router_client.event import Event, from_object
from router_node.destinations.addresses import Addresses, AddressRefused, GuardedResolver, Resolving
from router_node.security.signatures import sign

RESPONSE_BYTES = 4096
RESPONSE_S = 2.0
CONNECT_S = 5.0
CONNECTIONS = 1000
LONGEST_RETRY_AFTER_S = 3600.0
USER_AGENT = "event-router"
STRUCTURED = "application/cloudevents+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: a status with the start of the answer, or ``error`` when there was none.

    ``retry_after_s`` is what the answer asked for, at most an hour. ``refused``: the address may not be called.
    """

    status: int | None = None
    response: str = ""
    error: str = ""
    retry_after_s: float = 0.0
    timed_out: bool = False
    refused: bool = False


class Caller:
    """Calls webhooks, over connections that are kept. Made by :func:`calling`."""

    def __init__(self, secure: aiohttp.ClientSession, plain: aiohttp.ClientSession, addresses: Addresses) -> None:
        self._secure = secure
        self._plain = plain
        self._addresses = addresses

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        """Send a body and return what came of it; raises nothing that the other side could cause."""
        try:
            self._check_literal(url)
            async with asyncio.timeout(timeout_s):
                session = self._secure if url.startswith("https:") else self._plain
                async with session.post(
                    url, data=body, headers=headers, allow_redirects=False, skip_auto_headers=("Content-Type",)
                ) as response:
                    text = await _start_of(response)
                    retry_after_s = retry_after(response.headers.get("Retry-After", ""), time.time())
                    return Answer(response.status, text, retry_after_s=retry_after_s)
        except TimeoutError:
            return Answer(error=f"no answer within {timeout_s:g} s", timed_out=True)
        except AddressRefused as error:
            return Answer(error=str(error), refused=True)
        except aiohttp.ClientConnectorError as error:
            cause = error.os_error
            return Answer(error=f"cannot connect: {cause or error}", refused=isinstance(cause, AddressRefused))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(error=f"the call failed: {type(error).__name__}: {error}"[:500])

    def _check_literal(self, url: str) -> None:
        """Names are checked where they are resolved; an address in the URL itself is never resolved."""
        host = urlsplit(url).hostname or ""
        try:
            ip_address(host.partition("%")[0])
        except ValueError:
            return
        rule = self._addresses.may_be_called if url.startswith("https:") else self._addresses.is_allowed
        if not rule(host):
            raise AddressRefused(f"{host} is no address that may be called")


@asynccontextmanager
async def calling(
    addresses: Addresses, resolver: Callable[[], Resolving] = aiohttp.ThreadedResolver
) -> AsyncIterator[Caller]:
    """Make a caller for the length of a block. Plain http:// reaches only addresses that the operator allowed."""
    async with (
        _session(resolver(), addresses.may_be_called) as secure,
        _session(resolver(), addresses.is_allowed) as plain,
    ):
        yield Caller(secure, plain, addresses)


def _session(resolver: Resolving, rule: Callable[[str], bool]) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(resolver, rule), use_dns_cache=False, limit=CONNECTIONS, happy_eyeballs_delay=None
    )
    # Nothing of one endpoint's answers is kept for another, unpacked (4 KiB may hold gigabytes), or taken from the
    # environment: a proxy would connect where this node may not.
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        headers={"User-Agent": USER_AGENT},
    )


async def _start_of(response: aiohttp.ClientResponse) -> str:
    """Read what is kept of the answer; the connection is dropped unless that was all of it."""
    kept = bytearray()
    try:
        async with asyncio.timeout(RESPONSE_S):
            while len(kept) < RESPONSE_BYTES and (chunk := await response.content.read(RESPONSE_BYTES - len(kept))):
                kept += chunk
    except (TimeoutError, aiohttp.ClientError):
        response.close()  # the status is known, and that is what counts
    if not response.content.at_eof():
        response.close()
    return kept.decode("utf-8", "replace").replace("\0", "�")


def message_of(
    body: bytes, subscription: str, destination: Mapping[str, Any], now: float
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that carry an event, signed; ``now`` is in seconds since 1970.

    The message's id is the same for every attempt of an event and subscription. An event whose data is not UTF-8 text
    cannot be signed in binary mode, and goes structured.
    """
    event = from_object(orjson.loads(body))
    headers = {name.lower(): value for name, value in destination["headers"].items()}
    if (traceparent := event.metadata.get("traceparent")) and isinstance(traceparent, str):
        headers["traceparent"] = traceparent
    message_id = "msg_" + hashlib.blake2b(f"{subscription}\0{event.id}".encode(), digest_size=16).hexdigest()
    if destination["mode"] == "binary":
        try:
            own, data = to_binary(event)
            return {**headers, **own, **_signed(destination["secret"], message_id, now, data)}, data
        except InvalidInput:
            pass
    return _structured(event, headers, destination["secret"], message_id, now)


def _structured(
    event: Event, headers: dict[str, str], secret: str | list[str] | None, message_id: str, now: float
) -> tuple[dict[str, str], bytes]:
    data = orjson.dumps(to_structured(event))
    return {**headers, "content-type": STRUCTURED, **_signed(secret, message_id, now, data)}, data


def _signed(secret: str | list[str] | None, message_id: str, now: float, body: bytes) -> dict[str, str]:
    secrets: Sequence[str] = secret if isinstance(secret, list) else [secret] if secret else []
    found = [sign(each, message_id, int(now), body) for each in secrets]
    if not found:
        return {"webhook-id": message_id, "webhook-timestamp": str(int(now))}
    return {**found[0], "webhook-signature": " ".join(each["webhook-signature"] for each in found)}


def retry_after(value: str, now: float) -> float:
    """Return how many seconds a Retry-After header asks for, 0 when it says nothing sensible, an hour at most."""
    value = value.strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return min(float(value), LONGEST_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, EventRouterError):
        return 0.0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((aware - datetime.fromtimestamp(now, UTC)).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
