"""Which patterns cover a topic: patterns of one shape share a dictionary, and what a topic met is remembered.

A pattern's shape is how many tokens it has before a final ``>``, whether it has one, and which of its tokens are
literal. A topic looks into the dictionary of each shape that its length allows, with its own tokens at those places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

from router_client.errors import Conflict
from router_client.topics import MAX_TOKENS, is_literal

V = TypeVar("V")

SHORT = 7
"""A pattern that covers topics of this many tokens or fewer is never refused: of those there are few shapes."""
MAX_LONG_SHAPES = 2**SHORT - 1
"""Other shapes that a topic may have to look into. It is as many as there are of short ones that end in ``>``, so that
no topic ever looks into more than twice as many."""
REMEMBERED_TOPICS = 10_000

Key = Hashable
Probe = tuple[Callable[[list[str]], Key], Callable[[Key], Any]]


class Shape(NamedTuple):
    """``length`` tokens, of which those at the places ``literals`` are literal; then, when ``open``, one or more."""

    length: int
    open: bool
    literals: tuple[int, ...]

    @classmethod
    def of(cls, pattern: str) -> tuple[Shape, Key]:
        """Return the shape of a valid pattern, and its key among the patterns of that shape."""
        tokens = pattern.split(".")
        is_open = tokens[-1] == ">"
        if is_open:
            del tokens[-1]
        shape = cls(len(tokens), is_open, tuple(i for i, each in enumerate(tokens) if each != "*"))
        return shape, shape.reader()(tokens)

    def reader(self) -> Callable[[list[str]], Key]:
        """Return what reads the key of this shape from the tokens of a topic."""
        return itemgetter(*self.literals) if self.literals else _nothing

    @property
    def is_long(self) -> bool:
        """It covers no topic of SHORT tokens or fewer."""
        return self.lengths()[0] > SHORT

    def lengths(self) -> range:
        """Return the lengths of the topics it covers."""
        return range(self.length + 1, MAX_TOKENS + 1) if self.open else range(self.length, self.length + 1)


class TopicIndex(Generic[V]):
    """One value filed under each of many topic patterns."""

    def __init__(self) -> None:
        self._filed: dict[str, V] = {}
        self._shapes: dict[Shape, dict[Key, V]] = {}
        self._crowd = [0] * (MAX_TOKENS + 1)
        self._long = [0] * (MAX_TOKENS + 1)
        self._probes: dict[int, list[Probe]] = {}
        self._generation = 0
        self._recent: dict[str, tuple[int, tuple[V, ...]]] = {}
        self._older: dict[str, tuple[int, tuple[V, ...]]] = {}

    def __len__(self) -> int:
        return len(self._filed)

    @property
    def shapes(self) -> int:
        """How many shapes a topic has to look into, at most."""
        return max(self._crowd)

    def get(self, pattern: str) -> V | None:
        """Return what is filed under ``pattern`` itself."""
        return self._filed.get(pattern)

    def put(self, pattern: str, value: V) -> None:
        """File ``value`` under a valid pattern, in place of what is there.

        Raises Conflict when long topics would have to look into more than MAX_LONG_SHAPES shapes besides short ones.
        """
        if is_literal(pattern):
            self._filed[pattern] = value
            self._forget(pattern)
            return
        shape, key = Shape.of(pattern)
        if shape not in self._shapes:
            if shape.is_long and max(self._long[length] for length in shape.lengths()) >= MAX_LONG_SHAPES:
                raise Conflict(
                    f"{pattern} has its wildcards where no other pattern has them, and for topics of that length there "
                    f"are {MAX_LONG_SHAPES} such kinds of pattern; use wildcards in other places, or > earlier",
                    field="topics",
                )
            self._shapes[shape] = {}
            self._count(shape, 1)
        self._shapes[shape][key] = self._filed[pattern] = value
        self._generation += 1

    def remove(self, pattern: str) -> None:
        """Forget a pattern, which may not be there."""
        if self._filed.pop(pattern, None) is None:
            return
        if is_literal(pattern):
            self._forget(pattern)
            return
        shape, key = Shape.of(pattern)
        filed = self._shapes[shape]
        del filed[key]
        if not filed:
            del self._shapes[shape]
            self._count(shape, -1)
        self._generation += 1

    def match(self, topic: str) -> tuple[V, ...]:
        """Return what is filed under the patterns that cover ``topic``."""
        known = self._recent.get(topic)
        if known is None or known[0] != self._generation:
            known = self._recall(topic)
        return known[1]

    def _recall(self, topic: str) -> tuple[int, tuple[V, ...]]:
        """Find what a topic matches, and remember it: half as many topics as may be, and as many that were before."""
        known = self._older.get(topic)
        if known is None or known[0] != self._generation:
            known = (self._generation, tuple(self._find(topic)))
        if len(self._recent) >= REMEMBERED_TOPICS // 2:
            self._older, self._recent = self._recent, {}
        self._recent[topic] = known
        return known

    def _find(self, topic: str) -> list[V]:
        tokens = topic.split(".")
        probes = self._probes.get(len(tokens))
        if probes is None:
            probes = self._probes[len(tokens)] = self._probes_for(len(tokens))
        found = [filed for key, look_up in probes if (filed := look_up(key(tokens))) is not None]
        exact = self._filed.get(topic)  # no topic is a pattern with wildcards
        return found if exact is None else [exact, *found]

    def _probes_for(self, length: int) -> list[Probe]:
        return [(shape.reader(), filed.get) for shape, filed in self._shapes.items() if length in shape.lengths()]

    def _count(self, shape: Shape, by: int) -> None:
        for length in shape.lengths():
            self._crowd[length] += by
            self._long[length] += by * shape.is_long
            self._probes.pop(length, None)

    def _forget(self, topic: str) -> None:
        self._recent.pop(topic, None)
        self._older.pop(topic, None)


def _nothing(_: list[str]) -> Key:
    return ()
