"""Real nodes of one cluster with their security on: processes, and their keys and policies in the database."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from joserfc import jwt
from joserfc.jwk import RSAKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.security.desk import ROOT, Site, site
from tests.support.node_process import NodeProcess

ISSUER, AUDIENCE = "https://id.example.org/", "event-router"
SIGNER = RSAKey.generate_key(2048, {"kid": "signer", "use": "sig"})
BILLING = {"publish": ["billing.>"], "subscribe": ["billing.>"], "events": ["billing.>"]}


class SecuredNodes:
    """``nodes`` that run, ``keys`` by their name, and ``site``, where keys and policies are made and ended."""

    def __init__(self, made_at: Site, nodes: list[NodeProcess], keys: dict[str, dict[str, Any]]) -> None:
        self.site = made_at
        self.nodes = nodes
        self.keys = keys
        self.shown: set[str] = {key["key"] for key in keys.values()}
        """Every secret that was shown to a node."""

    @property
    def first(self) -> str:
        """The address of the first node."""
        return self.nodes[0].url

    def key(self, name: str) -> str:
        """Return the text of a key."""
        return str(self.keys[name]["key"])

    async def revoke(self, name: str) -> None:
        """End a key."""
        await self.site.secured.desk.keys.revoke(ROOT, self.keys[name]["id"])

    async def status(
        self, token: str | None, method: str = "GET", path: str = "/v1/events?type=billing.>", **more: Any
    ) -> int:
        """Make a call to each node; returns the status, which must be the same everywhere."""
        found = set(await self.statuses(token, method, path, **more))
        assert len(found) == 1, found
        return found.pop()

    async def statuses(
        self, token: str | None, method: str = "GET", path: str = "/v1/events?type=billing.>", **more: Any
    ) -> list[int]:
        """Make a call to each node; returns what each answered."""
        if token is not None:
            self.shown.add(token)
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        headers |= {"content-type": "application/json"} | more.pop("headers", {})
        found = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            for node in self.nodes:
                async with http.request(method, node.url + path, headers=headers, **more) as answer:
                    found.append(answer.status)
        return found

    async def put(self, token: str, name: str, body: object) -> dict[str, Any]:
        """Put a subscription at the first node; returns what it answers."""
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {token}"}) as http,
            http.put(f"{self.first}/v1/subscriptions/{name}", json=body) as answer,
        ):
            answered: dict[str, Any] = await answer.json(content_type=None)
            return answered

    async def made(self, token: str, name: str, body: object) -> bool:
        """Put a subscription; tells whether it is there."""
        return (await self.put(token, name, body)).get("name") == name

    async def greeted(self, token: str | None, *, upgrade: bool) -> int:
        """Open a WebSocket to the first node and greet, the token in the upgrade or in the hello.

        Returns 101 once welcome, 401 for a refused upgrade, or the code that the connection was closed with.
        """
        url = self.first.replace("http", "ws") + "/v1/ws"
        headers = {"authorization": f"Bearer {token}"} if upgrade and token is not None else {}
        hello = {"op": "hello", "version": 1, **({"token": token} if not upgrade and token is not None else {})}
        try:
            async with connect(url, additional_headers=headers) as connection:
                await connection.send(orjson.dumps(hello), text=True)
                if orjson.loads(await connection.recv())["op"] == "welcome":
                    return 101
                with suppress(ConnectionClosed):
                    raise AssertionError(f"neither welcome nor closed: {await connection.recv()!r}")
                return int(connection.close_code or 0)
        except InvalidStatus as error:
            return error.response.status_code

    def output(self) -> str:
        """Return all that the nodes have said."""
        return "\n".join(node.process.log.read_text(errors="replace") for node in self.nodes)


def token(key: RSAKey = SIGNER, algorithm: str = "RS256", kid: str | None = "signer", **claims: Any) -> str:
    """Return a JSON Web Token of the issuer; claims that are None are left out."""
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 600, "roles": ["reader"], **claims}
    header = {"alg": algorithm, **({"kid": kid} if kid is not None else {})}
    return jwt.encode(header, {name: each for name, each in whole.items() if each is not None}, key, [algorithm])


@asynccontextmanager
async def secured_nodes(
    redis_url: str, database_url: str, folder: Path, count: int, **settings: str
) -> AsyncIterator[SecuredNodes]:
    """Run nodes with keys admin, billing and doomed, the policy billing, and tokens of ``SIGNER``."""
    key_set = folder / "jwks.json"
    key_set.write_bytes(orjson.dumps({"keys": [SIGNER.as_dict(private=False)]}))
    settings = {
        "ER_SECURITY": "on",
        "ER_LOG_LEVEL": "debug",
        "ER_JWT_KEYS": str(key_set),
        "ER_JWT_ISSUER": ISSUER,
        "ER_JWT_AUDIENCE": AUDIENCE,
        **settings,
    }
    async with site(database_url) as made_at, AsyncExitStack() as stack:
        await made_at.put("billing", **BILLING)
        keys = {
            name: await made_at.made(name, policy)
            for name, policy in (("admin", "admin"), ("billing", "billing"), ("doomed", "billing"))
        }
        started = [
            NodeProcess(redis_url=redis_url, database_url=database_url, cluster="secured", **settings)
            for _ in range(count)
        ]
        for node in started:
            stack.callback(node.remove)
            node.spawn()
        for node in started:
            await node.ready()
        yield SecuredNodes(made_at, started, keys)
