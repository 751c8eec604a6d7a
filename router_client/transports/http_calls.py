"""Calls of the HTTP API: one session, a timeout on every call, and every failure as one of our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from router_client.credentials import authorization, tls_of
from router_client.errors import ClosedError, ConnectionLost, EventRouterError, Overloaded, from_problem
from router_client.options import ClientOptions

_GATEWAY = {502, 504}


class HttpCalls:
    """An HTTP session with one router address, opened by its first call."""

    def __init__(self, base_url: str, options: ClientOptions) -> None:
        self._base = base_url.rstrip("/")
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def turn_to(self, base_url: str) -> None:
        """Make later calls at another address."""
        self._base = base_url.rstrip("/")

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Make one call and return the JSON it answers (None for an empty answer).

        Raises what the router answered as an error, and ConnectionLost when it gave no answer within ``timeout_s``,
        by default the option ``request_timeout_s``, and ClosedError once closed. Cancelling it harms no other call.
        """
        limit = aiohttp.ClientTimeout(
            total=timeout_s or self._options.request_timeout_s, sock_connect=self._options.connect_timeout_s
        )
        sent = {**authorization(self._options), **(headers or {})}
        if body is not None:
            sent.setdefault("content-type", "application/json")
        try:
            async with self._opened().request(
                method, self._base + path, params=query, data=body, headers=sent, timeout=limit
            ) as response:
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectionLost(f"{method} {self._base}{path}: {error or type(error).__name__}") from error
        if response.status >= 400:
            raise _error(response, data)
        return orjson.loads(data) if data else None

    async def close(self) -> None:
        """Close every connection, calls under way included; closing twice is allowed."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ClosedError("the client is closed")
        if self._session is None:
            tls = tls_of(self._options) if self._base.startswith("https:") else True
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))
        return self._session


class HttpRecords:
    """Stored events and dead letters, asked for over HTTP."""

    def __init__(self, calls: HttpCalls) -> None:
        self._calls = calls

    async def event(self, event_id: str) -> dict[str, Any]:
        """See Records."""
        return await self._object("GET", f"/v1/events/{quote(event_id, safe='')}")

    async def events(self, query: Mapping[str, str]) -> dict[str, Any]:
        """See Records."""
        return await self._object("GET", "/v1/events", query=query)

    async def dead_letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """See Records."""
        return await self._object("GET", "/v1/dead-letters", query=query)

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Records."""
        body = orjson.dumps({"ids": list(letter_ids)})
        answer = await self._object("POST", "/v1/dead-letters/replay", body=body)
        return int(answer["replayed"])

    async def _object(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self._calls.call(method, path, **arguments)
        return answer


def _error(response: aiohttp.ClientResponse, data: bytes) -> EventRouterError:
    try:
        problem = orjson.loads(data)
    except orjson.JSONDecodeError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return from_problem(problem)
    # Not the router's words: a proxy between us speaks.
    detail = f"{response.status} {response.reason}"
    if response.status in _GATEWAY:
        return ConnectionLost(detail)
    if response.status == 429:
        return Overloaded(detail)
    return from_problem({"detail": detail, "code": "unavailable" if response.status == 503 else "error"})
