"""Which subscriptions a topic concerns: exact topics by dictionary, patterns one by one, results remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from typing import Generic, TypeVar

from router_client.topics import is_literal, matches

V = TypeVar("V", bound=Hashable)

REMEMBERED_TOPICS = 10_000


class TopicIndex(Generic[V]):
    """Values filed under topic patterns. ``match`` returns each value once, in the order first filed."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[V, None]] = defaultdict(dict)
        self._patterns: dict[str, dict[V, None]] = defaultdict(dict)
        self._remembered: dict[str, tuple[V, ...]] = {}

    def add(self, pattern: str, value: V) -> None:
        """File ``value`` under a valid pattern."""
        self._of(pattern)[pattern][value] = None
        self._remembered.clear()

    def remove(self, pattern: str, value: V) -> None:
        """Take ``value`` from under ``pattern``, where it may not be."""
        filed = self._of(pattern)
        if pattern in filed:
            filed[pattern].pop(value, None)
            if not filed[pattern]:
                del filed[pattern]
        self._remembered.clear()

    def match(self, topic: str) -> tuple[V, ...]:
        """Return the values whose pattern covers ``topic``."""
        known = self._remembered.get(topic)
        if known is None:
            found: dict[V, None] = dict(self._exact.get(topic, {}))
            for pattern, values in self._patterns.items():
                if matches(pattern, topic):
                    found.update(values)
            if len(self._remembered) >= REMEMBERED_TOPICS:
                self._remembered.clear()
            known = self._remembered[topic] = tuple(found)
        return known

    def _of(self, pattern: str) -> dict[str, dict[V, None]]:
        return self._exact if is_literal(pattern) else self._patterns
