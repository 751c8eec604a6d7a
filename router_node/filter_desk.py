"""What operators ask of filters; see contract.FilterDesk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from router_client.errors import InvalidInput
from router_client.json_input import only
from router_node.routing.filter_trial import as_kept, read_topics, try_filter, try_subscription
from router_node.routing.registry import Registry
from router_node.security.gate import OPEN, Access
from router_node.security.permission import may_see, unknown_event, unknown_subscription
from stores.ports import StoredEvent

MEMBERS = ("filter", "subscription", "topics", "event", "event_id")


class FilterDesk:
    """Tries filters, and the subscriptions of ``registry`` behind the node's global filters.

    ``stored`` loads an event by its id. A filter and an event that are made to be slow take seconds, so one trial at a
    time has a thread, beside the loop.
    """

    def __init__(
        self,
        registry: Registry,
        stored: Callable[[str], Awaitable[StoredEvent]],
        global_filters: Sequence[Mapping[str, Any]],
        max_event_bytes: int,
    ) -> None:
        self._registry = registry
        self._stored = stored
        self._global_filters = global_filters
        self._max_event_bytes = max_event_bytes
        self._one_at_a_time = asyncio.Lock()

    async def test(self, body: object, *, access: Access = OPEN) -> dict[str, Any]:
        """See contract.FilterDesk."""
        given = _checked(body)
        spec = self._registry.spec(given["subscription"]) if "subscription" in given else None
        if spec is not None and not may_see(access, spec.topics):
            raise unknown_subscription(spec.name)
        topics = read_topics(given["topics"]) if "topics" in given else ()
        event = await self._event(given, access)
        async with self._one_at_a_time:
            if spec is not None:
                trial = await asyncio.to_thread(try_subscription, spec, event, self._global_filters)
            else:
                trial = await asyncio.to_thread(try_filter, given["filter"], event, topics)
        return trial.to_object()

    async def _event(self, given: Mapping[str, Any], access: Access) -> dict[str, Any]:
        if "event" in given:
            return as_kept(given["event"], self._max_event_bytes)
        stored = await self._stored(given["event_id"])
        if not access.grants.may_read_events(stored.type):
            raise unknown_event(given["event_id"])
        event: dict[str, Any] = orjson.loads(stored.body)
        return event


def _checked(body: object) -> dict[str, Any]:
    given = {name: value for name, value in only(body, *MEMBERS).items() if value is not None}
    if ("filter" in given) == ("subscription" in given):
        raise InvalidInput("give either a filter, or the name of a subscription", field="filter")
    if ("event" in given) == ("event_id" in given):
        raise InvalidInput("give either an event object, or the id of a stored event", field="event")
    for name in ("subscription", "event_id"):
        if name in given and not isinstance(given[name], str):
            raise InvalidInput("must be text", field=name)
    if "topics" in given and "subscription" in given:
        raise InvalidInput("a subscription has its own", field="topics")
    return given
