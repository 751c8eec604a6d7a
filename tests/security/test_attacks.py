"""What was tried on real nodes, over real sockets. docs/security.md lists the same."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import orjson
import pytest
import trustme
from joserfc.jwk import OctKey, RSAKey
from redis import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.edges.guarded import guarded
from tests.security.secured_nodes import SIGNER, SecuredNodes, secured_nodes, token
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

SOON_S = 2.0
ADDRESSES_REFUSED = re.compile(r"^er_webhook_addresses_refused_total\S* (\S+)", re.MULTILINE)
REDIS_PASSWORD, DATABASE_PASSWORD = "r3dis-pa55word", "p0stgres-pa55word"
WEBHOOK_SECRET = base64.b64encode(b"webhook secret of 32 characters!").decode()


@pytest.fixture
async def nodes(database_url: str, tmp_path: Path) -> AsyncIterator[SecuredNodes]:
    """Two nodes of a cluster, and a Redis and a PostgreSQL that they reach with passwords."""
    with RedisServer() as redis:
        with Redis.from_url(redis.url) as admin:
            admin.execute_command("ACL", "SETUSER", "er", "on", f">{REDIS_PASSWORD}", "~*", "&*", "+@all")
        parts = urlsplit(database_url)
        with_password = parts._replace(netloc=f"postgres:{DATABASE_PASSWORD}@{parts.hostname}:{parts.port}").geturl()
        redis_url = f"redis://er:{REDIS_PASSWORD}@127.0.0.1:{redis.port}/0"
        settings = {"ER_CLIENT_CERT_HEADER": "x-client-cert", "ER_TRUSTED_PROXIES": '["10.0.0.0/8"]'}
        async with secured_nodes(redis_url, with_password, tmp_path, 2, **settings) as running:
            yield running


def _forged(header: dict[str, Any], key: bytes | None = None) -> str:
    """Return a token as no library would make it: unsigned, or by HMAC with ``key``."""
    claims = {"iss": "https://id.example.org/", "aud": "event-router", "sub": "admin", "exp": int(time.time()) + 600}
    signed = b".".join(map(_b64, (orjson.dumps(header), orjson.dumps({**claims, "roles": ["admin"]}))))
    signature = hmac.new(key, signed, hashlib.sha256).digest() if key is not None else b""
    return (signed + b"." + _b64(signature)).decode()


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _key_with_another_secret(nodes: SecuredNodes) -> str:
    mine, other = nodes.key("billing"), nodes.key("doomed")
    return "_".join((*mine.split("_", 2)[:2], other.split("_", 2)[2]))


TOKENS: dict[str, Callable[[SecuredNodes], str | None]] = {
    "nothing": lambda _: None,
    "a key that never was": lambda _: "er_0123456789abcdef_" + "A" * 43,
    "the id of one key, the secret of another": _key_with_another_secret,
    "half a key": lambda nodes: nodes.key("admin")[:40],
    "an expired token": lambda _: token(exp=int(time.time()) - 3600),
    "a token of tomorrow": lambda _: token(nbf=int(time.time()) + 86_400),
    "a token without an end": lambda _: token(exp=None),
    "a token for somebody else": lambda _: token(aud="another-service"),
    "a token by somebody else": lambda _: token(iss="https://evil.example/"),
    "a token by an unknown key": lambda _: token(kid="another"),
    "a token by a stranger under a known key's name": lambda _: token(RSAKey.generate_key(2048)),
    "alg none": lambda _: _forged({"alg": "none"}),
    "alg NONE with a key's name": lambda _: _forged({"alg": "NONE", "kid": "signer"}),
    "HS256 with the public key as its secret": lambda _: _forged(
        {"alg": "HS256", "kid": "signer"}, SIGNER.as_pem(private=False)
    ),
    "HS256 with a secret of one's own": lambda _: token(OctKey.generate_key(256), "HS256"),
    "no token at all": lambda _: "a.b.c",
}


async def test_no_forged_or_stale_credential_gets_in_anywhere(nodes: SecuredNodes) -> None:
    for name, made in TOKENS.items():
        shown = made(nodes)
        assert await nodes.status(shown) == 401, name
        assert await nodes.status(shown, "POST", "/v1/events", data=b'{"type":"billing.paid"}') == 401, name
        assert await nodes.greeted(shown, upgrade=False) == 4401, name
        assert await nodes.greeted(shown, upgrade=True) == (4401 if shown is None else 401), name

    for good in (nodes.key("billing"), token()):
        assert await nodes.status(good) == 200
        assert await nodes.greeted(good, upgrade=False) == 101
        assert await nodes.greeted(good, upgrade=True) == 101


async def test_a_revoked_key_ends_everywhere_within_two_seconds(nodes: SecuredNodes) -> None:
    doomed = nodes.key("doomed")
    async with asyncio.TaskGroup() as tasks:
        held = [await connect(node.url.replace("http", "ws") + "/v1/ws") for node in nodes.nodes]
        for connection in held:
            await connection.send(orjson.dumps({"op": "hello", "version": 1, "token": doomed}), text=True)
            assert orjson.loads(await connection.recv())["op"] == "welcome"
        assert await nodes.status(doomed) == 200

        await nodes.revoke("doomed")
        revoked_at = time.monotonic()
        closings = [tasks.create_task(_closed(connection)) for connection in held]
        while await nodes.statuses(doomed) != [401, 401]:
            assert time.monotonic() - revoked_at < SOON_S
            await asyncio.sleep(0.05)
        async with asyncio.timeout(revoked_at + SOON_S - time.monotonic()):
            assert [await closing for closing in closings] == [4401, 4401]
    assert await nodes.status(nodes.key("billing")) == 200


async def _closed(connection: Any) -> int:
    """Return the code that a connection is closed with."""
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()
    return int(connection.close_code)


async def test_a_key_does_what_its_policy_says_and_no_more(nodes: SecuredNodes) -> None:
    billing = nodes.key("billing")

    async def tried(method: str, path: str, body: object) -> int:
        return await nodes.status(billing, method, path, data=orjson.dumps(body))

    assert await tried("POST", "/v1/events", {"type": "billing.paid"}) == 202
    assert await tried("POST", "/v1/events", {"type": "shop.sold"}) == 403
    for wider in (">", "*.paid", "*.>", "billing", "shop.>"):
        assert await tried("PUT", "/v1/subscriptions/mine", {"topics": [wider]}) == 403, wider
    assert await nodes.made(billing, "mine", {"topics": ["billing.*"]})
    for path in ("/v1/events", "/v1/events?type=>", "/v1/nodes", "/v1/partitions", "/metrics", "/v1/dead-letters"):
        assert await nodes.status(billing, "GET", path) == 403, path
    assert await tried("POST", "/v1/partitions/grow", {"to": 128}) == 403


async def test_a_certificate_in_a_header_is_nobodys_but_a_trusted_proxys(nodes: SecuredNodes) -> None:
    forged = quote(trustme.CA().issue_cert("a.example.org", common_name="admin").cert_chain_pems[0].bytes())

    for name in ("x-client-cert", "x-forwarded-client-cert", "ssl-client-cert"):
        assert await nodes.status(None, headers={name: forged}) == 401


async def test_who_is_not_known_has_no_body_read(nodes: SecuredNodes) -> None:
    """The answer comes before a body of 5 MB, or one that comes a byte at a time, has arrived."""
    address = urlsplit(nodes.first)
    for length in (b"content-length: 5000000", b"transfer-encoding: chunked"):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" + length + b"\r\n\r\n"
        )
        async with asyncio.timeout(SOON_S):
            assert b" 401 " in await reader.readline()
        writer.close()


async def test_a_body_beyond_its_limit_is_refused(nodes: SecuredNodes) -> None:
    body = b'{"type":"billing.paid","payload":{"text":"' + b"x" * (11 * 1024 * 1024) + b'"}}'

    assert await nodes.status(nodes.key("billing"), "POST", "/v1/events", data=body) == 413


async def test_a_webhook_reaches_nothing_private(nodes: SecuredNodes) -> None:
    """Addresses in disguise are refused when they are put, private ones when they are to be called."""
    connected = 0

    def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    async def put(name: str, url: str) -> dict[str, Any]:
        hook = {"kind": "webhook", "url": url, "secret": WEBHOOK_SECRET}
        return await nodes.put(nodes.key("billing"), name, {"topics": ["billing.>"], "destination": hook})

    async def refused() -> bool:
        headers = {"authorization": f"Bearer {nodes.key('admin')}"}
        seen = 0.0
        async with aiohttp.ClientSession(headers=headers) as http:
            for node in nodes.nodes:
                async with http.get(f"{node.url}/metrics") as answer:
                    seen += float(ADDRESSES_REFUSED.findall(await answer.text())[0])
        return seen >= 5

    listener = await asyncio.start_server(count, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        for url in (
            "https://0x7f000001/",
            "https://2130706433/",
            "https://127.1/",
            "file:///etc/passwd",
            "gopher://x/_",
        ):
            answer = await put("hook", url)
            assert (answer["status"], answer["field"]) == (400, "destination.url"), url
        private = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]")
        urls = [f"https://{host}:{port}/" for host in private] + ["https://169.254.169.254/latest/meta-data/"]
        for number, url in enumerate(urls):
            assert (await put(f"hook-{number}", url)).get("name") == f"hook-{number}", url
        assert await nodes.status(nodes.key("billing"), "POST", "/v1/events", data=b'{"type":"billing.paid"}') == 202
        await wait_for(refused, 20, "each was refused")
    assert connected == 0


async def test_no_secret_is_in_what_a_node_says(nodes: SecuredNodes) -> None:
    """All of it at the level debug, after good and bad credentials, malformed frames and an end."""
    for made in TOKENS.values():
        shown = made(nodes)
        await nodes.status(shown)
        await nodes.greeted(shown, upgrade=False)
        await nodes.greeted(shown, upgrade=True)
    for name in ("admin", "billing"):
        await nodes.status(nodes.key(name))
        await nodes.status(None, "GET", f"/v1/nodes?token={nodes.key(name)}")
    async with connect(nodes.first.replace("http", "ws") + "/v1/ws") as connection:
        await connection.send('{"op":"hello","version":1,"token":"%s", nonsense' % nodes.key("admin"))  # noqa: UP031
        assert await _closed(connection) == 1008
    hook = {"kind": "webhook", "url": "https://example.invalid/hook", "secret": WEBHOOK_SECRET}
    body = {"topics": ["billing.>"], "destination": hook}
    assert await nodes.made(nodes.key("billing"), "hook", body)
    assert await nodes.status(nodes.key("billing"), "POST", "/v1/events", data=b'{"type":"billing.paid"}') == 202
    nodes.shown.add(nodes.key("admin"))
    for node in nodes.nodes:
        await node.terminate()

    said = nodes.output()
    assert "a client shows no credentials" in said
    secrets = {each for each in nodes.shown if each and len(each) > 10}
    secrets |= {key.split("_", 2)[2] for key in secrets if key.startswith("er_")}
    secrets |= {each.rsplit(".", 1)[1] for each in secrets if each.count(".") == 2 and len(each) > 100}
    for secret in secrets | {REDIS_PASSWORD, DATABASE_PASSWORD, WEBHOOK_SECRET}:
        assert not secret or secret not in said, secret


async def test_connections_that_say_nothing_are_bounded_and_let_go() -> None:
    """Of those beyond the bound each is told so; those within are closed after the time there is for a hello."""
    async with guarded(hello_timeout_s=0.5, max_connections=50) as node:
        url = node.server.url.replace("http", "ws") + "/v1/ws"
        opened = await asyncio.gather(*(connect(url) for _ in range(60)), return_exceptions=True)
        silent = [each for each in opened if not isinstance(each, BaseException)]
        assert len(silent) == 50
        assert {await _closed(each) for each in silent} == {1008}
        await wait_for(lambda: not len(node.server.app.connections), SOON_S, "all have gone")
        counts = node.server.app.connections.conduct.counts
        assert (counts["no_hello"], counts["refused_connections"]) == (50, 10)
        assert (await node.ask("admin", "GET", "/v1/nodes"))[0] == 200
