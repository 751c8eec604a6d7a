"""Match: which subscriptions an event read from the log goes to, each at most once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from router_node.delivery.item import Head, NotAnEvent
from router_node.log.port import Entry, Position
from router_node.routing.route import Route


class Routable(Protocol):
    """An event object's reader: a compiled filter."""

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Tell whether the event object passes."""
        ...


class Document:
    """An event object, decoded when it is first asked for. Raises ValueError then, if its bytes are no JSON."""

    __slots__ = ("_body", "_decoded")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._decoded: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        """Return the event object."""
        if self._decoded is None:
            self._decoded = orjson.loads(self._body)
        return self._decoded


Find = Callable[[str, Callable[[], Mapping[str, Any]], str | None], Sequence[Route]]


class RouterEngine:
    """Feeds every event of an entry to persistence first and then to each subscription that matches.

    ``find`` returns the routes of a topic and document, or only that of a target, the third thing it is given.
    ``global_filters`` are a node-wide gate: an event that fails one is stored but routed to nobody, and counted.
    ``defer`` takes an event that is to be routed later, or answers False when its time has come.
    """

    def __init__(
        self,
        find: Find,
        global_filters: Sequence[Routable],
        persist: Callable[[Entry, Position, Head, bytes], None],
        unreadable: Callable[[Entry, Position, bytes, str], None],
        release: Callable[[Entry], None],
        defer: Callable[[Entry, Position, bytes, Head], bool] = lambda *_: False,
    ) -> None:
        self._find = find
        self._global_filters = global_filters
        self._persist = persist
        self._unreadable = unreadable
        self._release = release
        self._defer = defer
        self.routed = self.matched = self.filtered_globally = self.targets_missed = 0

    def route(self, entry: Entry) -> None:
        """Hand on every event of ``entry``; the entry is released once everything it went to has let go of it."""
        entry.outstanding += 1
        generation, sequence = entry.first
        for offset, body in enumerate(entry.bodies):
            position = Position(generation, sequence + offset)
            try:
                head = Head.of(body)
            except NotAnEvent as error:
                self._unreadable(entry, position, body, str(error))
                continue
            self.routed += 1
            self._persist(entry, position, head, body)
            if head.deliver_at is not None and self._defer(entry, position, body, head):
                continue
            try:
                found = self._match(head, body)
            except ValueError as error:
                self._unreadable(entry, position, body, f"not an event: {error}")
                continue
            for route in found:
                self.matched += 1
                route.receiver.offer(entry, position, body, head)
        self._release(entry)

    def goes_to(self, name: str, event: Mapping[str, Any]) -> bool:
        """Tell whether a subscription would get an event that was routed now; nothing is counted."""
        return (
            event.get("target") in (None, name)
            and bool(self._find(event["type"], lambda: event, name))
            and all(gate.matches(event) for gate in self._global_filters)
        )

    def _match(self, head: Head, body: bytes) -> Sequence[Route]:
        document = Document(body)
        found = self._find(head.topic, document, head.target)
        if head.target is not None and not found:
            self.targets_missed += 1
        if found and self._global_filters and not all(gate.matches(document()) for gate in self._global_filters):
            self.filtered_globally += 1
            return []
        return found
