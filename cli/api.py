"""The node's management API, as the commands need it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import orjson

from cli.address import http_url
from cli.credentials import client_options

REQUEST_S = 30.0
PAGE = 500
"""How many records one request asks for at most; the node's own limit is 1000."""


class Api:
    """A session with one node, open for the length of an ``async with``.

    Every method raises ConnectionLost when the node cannot be reached or does not answer within ``REQUEST_S``, and
    what the node answers as a problem as the error it stands for (NotFound, InvalidInput, Unavailable...).
    """

    def __init__(self, url: str) -> None:
        # Loaded here, as half of the time a command takes to start would be aiohttp's, needed or not.
        from router_client.transports.http_calls import HttpCalls

        self._calls = HttpCalls(http_url(url), client_options(request_timeout_s=REQUEST_S))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._calls.close()

    async def event(self, event_id: str) -> Any:
        """Return a stored event as its event object."""
        return await self._calls.call("GET", _path("events", event_id))

    async def trace(self, event_id: str) -> Any:
        """Return what happened to an event."""
        return await self._calls.call("GET", _path("events", event_id, "trace"))

    def events(self, query: Mapping[str, str | None], limit: int) -> AsyncIterator[dict[str, Any]]:
        """Yield up to ``limit`` stored events, newest first."""
        return self._pages("/v1/events", "events", query, limit)

    def deliveries(self, query: Mapping[str, str | None], limit: int) -> AsyncIterator[dict[str, Any]]:
        """Yield up to ``limit`` logged attempts, newest first."""
        return self._pages("/v1/deliveries", "deliveries", query, limit)

    def deliveries_of(self, event_id: str, limit: int) -> AsyncIterator[dict[str, Any]]:
        """Yield up to ``limit`` logged attempts of an event, oldest first."""
        return self._pages(_path("events", event_id, "deliveries"), "deliveries", {}, limit)

    async def dead_letter(self, letter_id: str) -> Any:
        """Return one dead letter with its event and its history."""
        return await self._calls.call("GET", _path("dead-letters", letter_id))

    def dead_letters(self, query: Mapping[str, str | None], limit: int | None) -> AsyncIterator[dict[str, Any]]:
        """Yield up to ``limit`` dead letters (None: all), oldest first."""
        return self._pages("/v1/dead-letters", "dead_letters", query, limit)

    async def dead_letter_counts(self) -> dict[str, Any]:
        """Return ``{"counts": [{"subscription", "reason", "count"}], "complete"}``."""
        found: dict[str, Any] = await self._calls.call("GET", "/v1/dead-letters/counts")
        return found

    async def replay(self, letter_ids: Sequence[str]) -> int:
        """Deliver letters again to the subscription each failed in; returns how many there were."""
        return int((await self._post("/v1/dead-letters/replay", letter_ids))["replayed"])

    async def purge(self, letter_ids: Sequence[str]) -> int:
        """Remove letters for good; returns how many there were."""
        return int((await self._post("/v1/dead-letters/purge", letter_ids))["purged"])

    def subscriptions(self) -> AsyncIterator[dict[str, Any]]:
        """Yield every subscription's spec and state, in the order of their names."""
        return self._pages("/v1/subscriptions", "subscriptions", {}, None)

    def replays(self, limit: int) -> AsyncIterator[dict[str, Any]]:
        """Yield up to ``limit`` replays, newest first."""
        return self._pages("/v1/replays", "replays", {}, limit)

    def api_keys(self) -> AsyncIterator[dict[str, Any]]:
        """Yield all API keys, by id."""
        return self._pages("/v1/keys", "keys", {}, None)

    def audit(self, query: Mapping[str, str | None], limit: int) -> AsyncIterator[dict[str, Any]]:
        """Yield up to ``limit`` entries of the audit log, newest first."""
        return self._pages("/v1/audit", "entries", query, limit)

    async def subscription(self, name: str) -> dict[str, Any]:
        """Return a durable subscription's spec and state."""
        found: dict[str, Any] = await self._calls.call("GET", _path("subscriptions", name))
        return found

    async def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes of the cluster."""
        found: list[dict[str, Any]] = (await self._calls.call("GET", "/v1/nodes"))["nodes"]
        return found

    async def node(self, node_id: str) -> dict[str, Any]:
        """Return one node of the cluster."""
        found: dict[str, Any] = await self._calls.call("GET", _path("nodes", node_id))
        return found

    async def drain(self, node_id: str) -> None:
        """Have a node begin to hand its partitions over."""
        await self._calls.call("POST", _path("nodes", node_id, "drain"))

    async def undrain(self, node_id: str) -> None:
        """Have a node go back to work."""
        await self._calls.call("DELETE", _path("nodes", node_id, "drain"))

    async def partitions(self) -> dict[str, Any]:
        """Return all partitions and the growth under way: ``{"partitions": [...], "growth": {...} or None}``."""
        found: dict[str, Any] = await self._calls.call("GET", "/v1/partitions")
        return found

    async def partition(self, number: int) -> dict[str, Any]:
        """Return one partition."""
        found: dict[str, Any] = await self._calls.call("GET", _path("partitions", str(number)))
        return found

    async def grow(self, to: int) -> dict[str, Any]:
        """Begin to grow to that many partitions, or find it begun; returns how far that is."""
        body = orjson.dumps({"to": to})
        growth: dict[str, Any] = await self._calls.call("POST", "/v1/partitions/grow", body=body)
        return growth

    async def rebalance(self) -> int:
        """Have partitions go to their places now; returns how many have to."""
        return int((await self._calls.call("POST", "/v1/partitions/rebalance"))["moving"])

    async def call(
        self,
        method: str,
        *parts: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask for the resource at ``/v1/<parts>``; returns its JSON, or None."""
        data = orjson.dumps(body) if body is not None else None
        return await self._calls.call(method, _path(*parts), query=query, body=data, headers=headers)

    async def _post(self, path: str, letter_ids: Sequence[str]) -> Any:
        return await self._calls.call("POST", path, body=orjson.dumps({"ids": list(letter_ids)}))

    async def _pages(
        self, path: str, member: str, query: Mapping[str, str | None], limit: int | None
    ) -> AsyncIterator[dict[str, Any]]:
        given = {name: value for name, value in query.items() if value is not None}
        while limit is None or limit > 0:
            given["limit"] = str(min(PAGE, limit) if limit is not None else PAGE)
            page = await self._calls.call("GET", path, query=given)
            for record in page[member]:
                yield record
            if limit is not None:
                limit -= len(page[member])
            if page["next"] is None:
                return
            given["cursor"] = page["next"]


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)
