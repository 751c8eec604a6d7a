"""What the router has stored: accepted events, and dead letters with the way back for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson

from router_client.event import Event, from_object
from router_client.transports.port import Records

_MEMBERS = frozenset(Event.__dataclass_fields__)


class Page(NamedTuple):
    """One page of stored events; ``next`` is the cursor that continues, None at the end."""

    events: list[Event]
    next: str | None


class History:
    """Questions to the router's store, where events appear shortly after they were accepted.

    Every method raises Unavailable while the store is away and ConnectionLost without an answer.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    async def event(self, event_id: str) -> Event:
        """Return the stored event of that id. Raises NotFound."""
        return _event(await self._records.event(event_id))

    async def page(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the event's own word
        correlation_id: str | None = None,
        source: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        payload: Mapping[str, Any] | None = None,
        order: Literal["asc", "desc"] = "desc",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return stored events that meet all conditions given, in the order of acceptance, the newest first.

        ``type`` is a topic or a pattern; ``since`` (inclusive) and ``until`` (exclusive) bound the time of acceptance;
        ``payload`` must be contained in the event's. Raises InvalidInput naming the condition at fault.
        """
        query = {
            "type": type,
            "correlation_id": correlation_id,
            "source": source,
            "from": None if since is None else since.isoformat(),
            "to": None if until is None else until.isoformat(),
            "payload": None if payload is None else orjson.dumps(payload).decode(),
            "order": order,
            "limit": str(limit),
            "cursor": cursor,
        }
        page = await self._records.events({name: value for name, value in query.items() if value is not None})
        return Page([_event(body) for body in page["events"]], page["next"])

    async def events(self, **conditions: Any) -> AsyncIterator[Event]:
        """Yield every event that meets the conditions of :meth:`page`, asking page by page."""
        cursor: str | None = None
        while True:
            page = await self.page(**conditions, cursor=cursor)
            for event in page.events:
                yield event
            if page.next is None:
                return
            cursor = page.next

    async def dead_letters(self, *, subscription: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return dead letters, oldest first, each as the JSON object of ``GET /v1/dead-letters``."""
        query = {"limit": str(limit)}
        if subscription is not None:
            query["subscription"] = subscription
        letters: list[dict[str, Any]] = (await self._records.dead_letters(query))["dead_letters"]
        return letters

    async def replay(self, letter_ids: Sequence[str]) -> int:
        """Deliver dead letters again to the subscription each failed in, and remove them; returns how many."""
        return await self._records.replay_dead_letters(letter_ids)


def _event(body: dict[str, Any]) -> Event:
    # What the router adds beside the event (the time of acceptance, for one) is not a member of it.
    return from_object({name: value for name, value in body.items() if name in _MEMBERS})
