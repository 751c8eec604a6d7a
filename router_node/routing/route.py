"""A subscription's way in, as the match stage finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from router_client.topics import matches
from router_node.delivery.item import Head
from router_node.log.port import Entry, Position
from router_node.routing.filter_language import Filter, compile_filter


class Receiver(Protocol):
    """A subscription, as the match stage sees it."""

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        """Take an event that matched."""
        ...


class Route:
    """What a subscription is to get, and where that goes: its name, topic patterns, filter ({} passes all), receiver.

    ``order`` is its place among all routes, given by the table it is filed in. There are as many as subscriptions, so
    it holds little: the filter as it was written, compiled only when it is asked for by itself.
    """

    __slots__ = ("_whole", "filter", "name", "order", "receiver", "topics")

    receiver: Receiver

    def __init__(self, name: str, topics: Sequence[str], filter: Mapping[str, Any]) -> None:  # noqa: A002 - the field's term
        self.name = name
        self.topics = topics
        self.filter = filter
        self.order = 0
        self._whole: Filter | None = None

    def takes(self, topic: str, document: Callable[[], Mapping[str, Any]]) -> bool:
        """Tell whether an event on ``topic`` goes this way; ``document`` decodes it, when the filter is to see it."""
        return any(matches(pattern, topic) for pattern in self.topics) and (not self.filter or self.passes(document()))

    def passes(self, document: Mapping[str, Any]) -> bool:
        """Tell whether the filter lets an event object pass."""
        if self._whole is None:
            self._whole = compile_filter(self.filter)
        return self._whole.matches(document)
