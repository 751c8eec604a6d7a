"""Stored events and dead letters of an embedded router, to the client of the same process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from router_client.errors import InvalidInput
from router_client.event import parse_time
from router_node.contract import Management
from router_node.edges.http_events import letter_object
from router_node.edges.http_operations import letter_filter
from stores.ports import EventQuery


class MemoryRecords:
    """See Records of the SDK's transports; the objects are those of the HTTP API."""

    def __init__(self, management: Management) -> None:
        self._management = management

    async def event(self, event_id: str) -> dict[str, Any]:
        """See Records."""
        return _loaded((await self._management.event(event_id)).body)

    async def events(self, query: Mapping[str, str]) -> dict[str, Any]:
        """See Records."""
        page = await self._management.events(
            EventQuery(
                type=query.get("type"),
                correlation_id=query.get("correlation_id"),
                source=query.get("source"),
                since=parse_time(query["from"], "from") if "from" in query else None,
                until=parse_time(query["to"], "to") if "to" in query else None,
                payload=_payload(query.get("payload")),
                descending=query.get("order", "desc") == "desc",
                limit=int(query.get("limit", "100")),
                cursor=query.get("cursor"),
            )
        )
        return {"events": [_loaded(event.body) for event in page.events], "next": page.next}

    async def dead_letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """See Records."""
        page = await self._management.letters.page(
            letter_filter(query), int(query.get("limit", "100")), query.get("cursor")
        )
        letters = [_loaded(orjson.dumps(letter_object(letter))) for letter in page.letters]
        return {"dead_letters": letters, "next": page.next}

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Records."""
        return await self._management.letters.replay(letter_ids)


def _loaded(body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(body)
    return event


def _payload(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object", field="payload")
    return value
