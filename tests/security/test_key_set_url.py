"""A JWKS from a URL: from where it may be fetched, and what its server cannot do to a node."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
import trustme
from aiohttp import web
from joserfc.jwk import ECKey

from router_node.config import ConfigError, load_settings
from router_node.destinations.addresses import Addresses
from router_node.destinations.names import SystemNames
from router_node.security import key_set
from router_node.security.key_set import KeySet, from_url
from tests.security.test_tokens import jwks

KEY = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256"})
MUCH = 64 * key_set.MAX_BYTES
LOCAL = ("127.0.0.0/8", "::1/128")


@dataclass
class Provider:
    """An identity provider, well-behaved or not."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        return await self.answer(request) if self.answer else web.Response(body=jwks(KEY))


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    authority = trustme.CA()
    # The context that aiohttp makes once for all its clients; it goes on trusting the system's authorities.
    authority.configure_trust(aiohttp.connector._SSL_CONTEXT_VERIFIED)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    made = Provider()
    application = web.Application()
    application.router.add_get("/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def keys_at(url: str, allowed: tuple[str, ...] = LOCAL) -> KeySet:
    return KeySet(from_url(url, Addresses(allowed), SystemNames), 300, asyncio.get_running_loop().time, lambda: None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_keys_are_fetched_from_where_they_may_be(provider: Provider, host: str) -> None:
    keys = keys_at(f"https://{host}:{provider.port}/jwks")
    found = await keys.find("ec", "ES256")
    assert found is not None
    assert keys.has(KEY.thumbprint())


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
    ],
)
async def test_no_private_address_is_called_unless_it_is_allowed(provider: Provider, host: str) -> None:
    keys = keys_at(f"https://{host}:{provider.port}/jwks", allowed=())

    await keys.refresh()

    assert keys.failed_reads == 1
    assert provider.requests == []


async def test_a_redirect_is_not_followed(provider: Provider) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"https://localhost:{provider.port}/other"})

    provider.answer = elsewhere
    keys = keys_at(f"https://localhost:{provider.port}/jwks")
    await keys.refresh()

    assert provider.requests == ["/jwks"]
    assert keys.failed_reads == 1


async def test_an_answer_without_end_is_given_up(provider: Provider) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < MUCH:
            await response.write(b" " * 65536)
            sent += 65536
            await asyncio.sleep(0)  # or nobody else would have a turn while the socket takes it all
        return response

    provider.answer = endless
    keys = keys_at(f"https://localhost:{provider.port}/jwks")
    async with asyncio.timeout(10):
        await keys.refresh()

    assert keys.failed_reads == 1
    assert sent < MUCH


async def test_an_answer_that_does_not_come_is_given_up(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "READ_S", 0.3)

    over = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    provider.answer = silent
    keys = keys_at(f"https://localhost:{provider.port}/jwks")
    async with asyncio.timeout(5):
        await keys.refresh()
    over.set()

    assert keys.failed_reads == 1


async def test_keys_stay_while_their_server_fails(provider: Provider) -> None:
    keys = keys_at(f"https://localhost:{provider.port}/jwks")
    await keys.refresh()

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=500, body=jwks(ECKey.generate_key("P-256")))

    provider.answer = broken
    await keys.refresh()

    assert keys.has(KEY.thumbprint())


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    seen = []

    async def serve(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response(body=jwks(KEY))

    server = await asyncio.get_running_loop().create_server(web.Server(serve), "127.0.0.1", 0, ssl=context)
    async with server:
        keys = keys_at(f"https://localhost:{server.sockets[0].getsockname()[1]}/jwks")
        await keys.refresh()

    assert keys.failed_reads == 1
    assert seen == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"jwt_keys": "http://id.example.org/jwks"}, "https://"),
        ({"jwt_keys": "file:///etc/passwd"}, "https://"),
        ({"jwt_keys": "k.json"}, "jwt_issuer"),
        ({"jwt_algorithms": ("none",)}, "none"),
        ({"jwt_algorithms": ()}, "jwt_algorithms"),
        ({"jwt_networks": ("10.0.0.0/99",)}, "jwt_networks"),
        ({"security": "maybe"}, "security"),
        ({"certificate_name": "issuer"}, "certificate_name"),
    ],
)
def test_settings_that_would_weaken_the_gate_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_settings(**{"jwt_audience": "x", **settings})
