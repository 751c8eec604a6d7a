"""One consumer's credit, shared out among the nodes that may have deliveries for it. Pure state.

The consumer never holds more deliveries than the credit it gave, wherever they come from: what one node may deliver is
taken from what the others may. Half of the credit is shared out to all nodes in equal parts, and the rest goes to the
consumer's own, whose deliveries cost the least. A node that has events and no credit says so and is served before the
others, if need be with credit recalled from one that does not use its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Grant(NamedTuple):
    """Let ``node`` deliver ``credit`` more; fewer, when negative: it answers with what it gives back."""

    node: str
    credit: int


class CreditPool:
    """See the module. Every method that changes something returns the grants that follow from it."""

    def __init__(self, most: int, home: str = "") -> None:
        self.most = most
        self._home = home
        self._free = 0
        self._granted: dict[str, int] = {}
        self._starved: dict[str, int] = {}
        self._recalled: dict[str, bool] = {}
        self._served: set[str] = set()

    @property
    def total(self) -> int:
        """Credit that no delivery has used."""
        return self._free + sum(self._granted.values())

    def granted(self, node: str) -> int:
        """Return what a node may still deliver."""
        return self._granted.get(node, 0)

    def nodes(self, names: Iterable[str]) -> list[Grant]:
        """Learn which nodes there are. What a node had that is gone is free again."""
        there = set(names)
        for gone in self._granted.keys() - there:
            self._free += self._granted.pop(gone)
            self._starved.pop(gone, None)
            self._recalled.pop(gone, None)
            self._served.discard(gone)
        for name in sorted(there):
            self._granted.setdefault(name, 0)
        return self._deal()

    def add(self, more: int) -> list[Grant]:
        """The consumer takes ``more`` deliveries, up to ``most`` in all."""
        self._free += max(0, min(more, self.most - self.total))
        return self._deal()

    def used(self, node: str, deliveries: int) -> list[Grant]:
        """A node has delivered."""
        if node in self._granted:
            self._granted[node] = max(0, self._granted[node] - deliveries)
            self._starved.pop(node, None)
            self._served.discard(node)
        return self._deal() if self._starved else []

    def starved(self, node: str, ready: int) -> list[Grant]:
        """A node has ``ready`` events and no credit."""
        if node not in self._granted or ready <= 0:
            return []
        self._starved[node] = ready
        return self._deal()

    def returned(self, node: str, credit: int) -> list[Grant]:
        """A node gives credit back, as recalled. None means that it has none, unless some was on its way to it."""
        on_its_way = self._recalled.pop(node, False)
        if node in self._granted:
            back = min(credit, self._granted[node]) if credit or on_its_way else self._granted[node]
            self._granted[node] -= back
            self._free += back
        return self._deal()

    def restore(self, node: str) -> int:
        """Return what a node may deliver, to be told anew after something was lost on the way."""
        self._recalled.pop(node, None)
        return self._granted.get(node, 0)

    def _deal(self) -> list[Grant]:
        grants: dict[str, int] = {}
        while self._free and self._starved:
            part = max(1, self._free // len(self._starved))
            node = next(iter(self._starved))
            ready = self._starved[node]
            self._give(node, min(part, ready, self._free), grants)
            self._served.add(node)
        if self._free and self._granted:
            share = self.total // len(self._granted) // (2 if self._home in self._granted else 1)
            for node in sorted(self._granted, key=self._granted.__getitem__):
                self._give(node, min(self._free, max(0, share - self._granted[node])), grants)
            if self._home in self._granted:
                self._give(self._home, self._free, grants)
        recalls = [recall for poor in list(self._starved) for recall in self._recall(poor)]
        return [Grant(node, credit) for node, credit in grants.items() if credit] + recalls

    def _give(self, node: str, credit: int, grants: dict[str, int]) -> None:
        self._free -= credit
        self._granted[node] += credit
        if credit:
            self._starved.pop(node, None)
        if credit and node in self._recalled:
            self._recalled[node] = True
        grants[node] = grants.get(node, 0) + credit

    def _recall(self, poor: str) -> list[Grant]:
        # What a node asked for it is about to use; recalled, it would go round and round.
        candidates = self._granted.keys() - {poor} - self._recalled.keys() - self._served
        rich = max(candidates, key=self._granted.__getitem__, default=None)
        if rich is None or self._granted[rich] <= self._granted[poor]:
            return []
        self._recalled[rich] = False
        return [Grant(rich, -((self._granted[rich] - self._granted[poor] + 1) // 2))]
