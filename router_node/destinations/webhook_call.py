"""One call of a webhook: a signed POST that never lasts longer, reads more or goes elsewhere than it should."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
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
from router_client.trace_context import extract, outgoing
from router_node.destinations.addresses import Addresses, AddressRefused, GuardedResolver, Resolving
from router_node.destinations.names import SystemNames
from router_node.security.signatures import sign

RESPONSE_BYTES = 4096
RESPONSE_S = 2.0
CONNECT_S = 5.0
CONNECTIONS = 1000
IDLE_S = 1.0
LONGEST_RETRY_AFTER_S = 3600.0
USER_AGENT = "event-router"
STRUCTURED = "application/cloudevents+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: a status with the start of the answer, or ``error`` when there was none.

    ``kind`` is the class of the status, such as ``4xx``, or ``timed_out``, ``refused`` (the address may not be called),
    ``unreachable`` (no connection, or none that can be trusted), ``broken`` (no HTTP). ``retry_after_s`` is what the
    answer asked for, at most an hour.
    """

    kind: str

    status: int | None = None
    response: str = ""
    error: str = ""
    retry_after_s: float = 0.0

    @property
    def reached_nobody(self) -> bool:
        """The request was not even sent."""
        return self.kind in ("refused", "unreachable")


class Caller:
    """Calls webhooks, over connections that are kept. Made by :func:`calling`."""

    def __init__(self, secure: aiohttp.ClientSession, plain: aiohttp.ClientSession, addresses: Addresses) -> None:
        self._secure = secure
        self._plain = plain
        self._addresses = addresses

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        """Send a body and return what came of it; raises nothing that the other side could cause.

        A status that came within ``timeout_s`` counts, however the rest of the answer comes.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        session = self._secure if url.startswith("https:") else self._plain
        try:
            check_literal(url, self._addresses)
            async with asyncio.timeout_at(deadline):
                response = await session.post(
                    url, data=body, headers=headers, allow_redirects=False, skip_auto_headers=("Content-Type",)
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:  # OSError: a TimeoutError too
            return _failure(error, timeout_s)
        try:
            text = await _start_of(response, min(deadline, loop.time() + RESPONSE_S))
        finally:
            response.close()  # a connection whose answer was read to its end is kept all the same
        wait_s = retry_after(response.headers.get("Retry-After", ""), time.time())
        return Answer(f"{response.status // 100}xx", response.status, text, retry_after_s=wait_s)


def check_literal(url: str, addresses: Addresses) -> None:
    """Raise AddressRefused for an address in the URL itself that may not be called: it is never resolved, and so not
    checked as names are.
    """
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return
    rule = addresses.may_be_called if url.startswith("https:") else addresses.is_allowed
    if not rule(host):
        raise AddressRefused(f"{host} is no address that may be called")


@asynccontextmanager
async def calling(addresses: Addresses, resolver: Callable[[], Resolving] = SystemNames) -> AsyncIterator[Caller]:
    """Make a caller for the length of a block. Plain http:// reaches only addresses that the operator allowed."""
    async with (
        guarded_session(resolver(), addresses.may_be_called) as secure,
        guarded_session(resolver(), addresses.is_allowed) as plain,
    ):
        yield Caller(secure, plain, addresses)


def guarded_session(resolver: Resolving, rule: Callable[[str], bool]) -> aiohttp.ClientSession:
    """Return a session that connects only to addresses that the ``rule`` lets pass, whatever names resolve to."""
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(resolver, rule),
        use_dns_cache=False,
        limit=CONNECTIONS,
        keepalive_timeout=IDLE_S,  # shorter than servers': a POST to a connection that is just being closed fails
        happy_eyeballs_delay=None,
    )
    # Nothing of one endpoint's answers is kept for another, unpacked (4 KiB may hold gigabytes), or taken from the
    # environment: a proxy would connect where this node may not.
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


async def _start_of(response: aiohttp.ClientResponse, until: float) -> str:
    """Read what is kept of the answer."""
    kept = bytearray()
    with suppress(TimeoutError, aiohttp.ClientError, OSError):  # the status is known, and that is what counts
        async with asyncio.timeout_at(until):
            while len(kept) < RESPONSE_BYTES and (chunk := await response.content.read(RESPONSE_BYTES - len(kept))):
                kept += chunk
    text = kept.decode("utf-8", "replace").replace("\0", "\ufffd")
    return text.encode()[:RESPONSE_BYTES].decode("utf-8", "ignore")


def _failure(error: Exception, timeout_s: float) -> Answer:
    match error:
        case AddressRefused() | aiohttp.ClientConnectorError(os_error=AddressRefused()):
            return Answer("refused", error=str(getattr(error, "os_error", error)))
        case aiohttp.ConnectionTimeoutError():
            return Answer("unreachable", error=f"no connection within {CONNECT_S:g} s")
        case TimeoutError():
            return Answer("timed_out", error=f"no answer within {timeout_s:g} s")
        case aiohttp.ClientConnectorCertificateError():
            return Answer("unreachable", error=f"cannot connect: {error.certificate_error}")
        case aiohttp.ClientConnectorError():
            return Answer("unreachable", error=f"cannot connect: {error.os_error or error}")
    return Answer("broken", error=f"the call failed: {type(error).__name__}: {error}"[:500])


def message_of(
    body: bytes, subscription: str, destination: Mapping[str, Any], now: float
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that carry an event, signed; ``now`` is in seconds since 1970.

    The message's id is the same for every attempt of an event and subscription. An event whose data is not UTF-8 text
    cannot be signed in binary mode, and goes structured.
    """
    event = from_object(orjson.loads(body))
    headers = {name.lower(): value for name, value in destination["headers"].items()}
    trace = extract((name, value) for name, value in event.metadata.items() if isinstance(value, str))
    headers.update(outgoing(trace) if trace is not None else ())
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
