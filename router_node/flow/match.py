"""Match: which subscriptions an event read from the log goes to, each at most once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import orjson

from router_node.delivery.item import Head, NotAnEvent
from router_node.log.port import Entry, Position
from router_node.routing.effort import TooCostly, TooMuch
from router_node.routing.filter_language import Filter
from router_node.routing.route import Route


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


class Find(Protocol):
    """Finds the routes of an event; see Registry.match."""

    def __call__(
        self, topic: str, document: Callable[[], Mapping[str, Any]], target: str | None = None, size: int = ..., /
    ) -> Sequence[Route]:
        """Return the routes of a topic and an event of ``size`` bytes, or only that of a target. Raises TooCostly."""
        ...


class Undecided(Protocol):
    """Keeps events for subscriptions whose filters took too much to check on them."""

    def __call__(self, entry: Entry, position: Position, body: bytes, head: Head, cost: TooCostly, /) -> None:
        """Bury it for those it was not decided for."""
        ...


class RouterEngine:
    """Feeds every event of an entry to persistence first and then to each subscription that matches.

    ``global_filters`` are a node-wide gate, which may raise TooMuch: an event that fails one is stored but routed to
    nobody, and counted. ``undecided`` takes what an event is not matched with since it would take too long.
    ``defer`` takes an event that is to be routed later, or answers False when its time has come.
    """

    def __init__(
        self,
        find: Find,
        global_filters: Sequence[Filter],
        persist: Callable[[Entry, Position, Head, bytes], None],
        unreadable: Callable[[Entry, Position, bytes, str], None],
        undecided: Undecided,
        release: Callable[[Entry], None],
        defer: Callable[[Entry, Position, bytes, Head], bool] = lambda *_: False,
    ) -> None:
        self._find = find
        self._global_filters = global_filters
        self._persist = persist
        self._unreadable = unreadable
        self._undecided = undecided
        self._release = release
        self._defer = defer
        self.routed = self.matched = self.filtered_globally = self.targets_missed = self.too_costly = 0

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
            except TooCostly as cost:
                self.too_costly += 1
                self._undecided(entry, position, body, head, cost)
                found = cost.found
            for route in found:
                self.matched += 1
                route.receiver.offer(entry, position, body, head)
        self._release(entry)

    def goes_to(self, name: str, event: Mapping[str, Any]) -> bool:
        """Tell whether a subscription would get an event that was routed now; nothing is counted.

        One that would be too costly to match does not get it.
        """
        try:
            return (
                event.get("target") in (None, name)
                and bool(self._find(event["type"], lambda: event, name))
                and all(gate.matches(event) for gate in self._global_filters)
            )
        except (TooCostly, TooMuch):
            return False

    def _match(self, head: Head, body: bytes) -> Sequence[Route]:
        document = Document(body)
        try:
            found = self._find(head.topic, document, head.target, len(body))
        except TooCostly as cost:
            if self._stopped(document(), chain(cost.found, cost.undecided)):
                return []
            raise
        if head.target is not None and not found:
            self.targets_missed += 1
        if found and self._global_filters and self._stopped(document(), found):
            return []
        return found

    def _stopped(self, event: Mapping[str, Any], found: Iterable[Route]) -> bool:
        """Tell whether a global filter stops an event from going to those found."""
        try:
            stopped = not all(gate.matches(event) for gate in self._global_filters)
        except TooMuch:
            raise TooCostly([], found) from None
        self.filtered_globally += stopped
        return stopped
