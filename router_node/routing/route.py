"""A subscription's way in, as the match stage finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import orjson

from router_client.topics import matches
from router_node.delivery.item import Head
from router_node.log.port import Entry, Position
from router_node.routing.effort import Effort
from router_node.routing.filter_language import Filter, compile_filter
from router_node.routing.packed_spec import compact


class Receiver(Protocol):
    """A subscription, as the match stage sees it."""

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        """Take an event that matched."""
        ...


class Route:
    """What a subscription is to get, and where that goes: its name, topic patterns, filter ({} passes all), receiver.

    ``order`` is its place among all routes, given by the table it is filed in. There are as many as subscriptions, so
    it holds little: topics and filter are packed once it is filed, the filter compiled when it is asked by itself.
    """

    __slots__ = ("_asked", "_whole", "name", "order", "receiver")

    receiver: Receiver

    def __init__(self, name: str, topics: Sequence[str], filter: Mapping[str, Any]) -> None:  # noqa: A002 - the field's term
        self.name = name
        self._asked: bytes | tuple[Sequence[str], Mapping[str, Any]] = (topics, filter)
        self.order = 0
        self._whole: Filter | None = None

    @property
    def asked(self) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        """Its patterns and its filter, as they were written; unpacked for each who asks."""
        asked = self._asked
        topics, wanted = orjson.loads(asked) if isinstance(asked, bytes) else asked
        return tuple(topics), wanted

    @property
    def topics(self) -> tuple[str, ...]:
        """Its patterns."""
        return self.asked[0]

    @property
    def filter(self) -> Mapping[str, Any]:
        """Its filter, as it was written."""
        return self.asked[1]

    def pack(self) -> None:
        """Take less room, now that the filter is known to be good; one that is no JSON for orjson stays as it is."""
        if not isinstance(self._asked, bytes):
            with suppress(TypeError):  # half a surrogate pair, an integer beyond 64 bits
                self._asked = compact(orjson.dumps(self._asked))

    def takes(self, topic: str, document: Callable[[], Mapping[str, Any]], effort: Effort) -> bool:
        """Tell whether an event on ``topic`` goes this way; ``document`` decodes it, when the filter is to see it.

        Raises TooMuch when that takes more than the effort has, which is always the same for one route.
        """
        topics, wanted = self.asked
        return any(matches(pattern, topic) for pattern in topics) and (not wanted or self.passes(document(), effort))

    def passes(self, document: Mapping[str, Any], effort: Effort) -> bool:
        """Tell whether the filter lets an event object pass; see takes."""
        if self._whole is None:
            self._whole = compile_filter(self.filter, effort=effort)
        return self._whole.matches(document)
