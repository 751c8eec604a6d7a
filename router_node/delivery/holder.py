"""Consumers' holds on a subscription: credit, fair turns, and what each has in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import shake_128
from typing import Protocol

from router_node.contract import Consumer, Settlement

KEY_SLOTS = 1024
SCORE_BYTES = 4


class HeldBy(Protocol):
    """The dispatch, as its holders see it."""

    @property
    def max_in_flight(self) -> int:
        """The most credit one holder may have."""
        ...

    def wake(self) -> None:
        """There may be something to deliver."""
        ...

    def settle(self, settlement: Settlement, holder: Holder | None = None) -> list[str]:
        """Settle deliveries held by ``holder``."""
        ...

    def undo(self, delivery_ids: Iterable[str]) -> None:
        """Deliveries reached nobody."""
        ...

    def detach(self, holder: Holder, *, requeue: bool) -> None:
        """The holder goes."""
        ...


class Holder:
    """One consumer's hold on a subscription; what the edges know as an Attachment.

    ``near`` consumers are connected to this node, others to another. ``label`` names the consumer, on every node alike.
    """

    def __init__(self, name: str, dispatch: HeldBy, consumer: Consumer, label: str = "") -> None:
        self.name = name
        self.label = label
        self.consumer = consumer
        self.credit = 0
        self.in_flight = 0
        self.open = True
        self.near = True
        self.on_starved: Callable[[int], None] | None = None
        self._starved = False
        self._dispatch = dispatch
        self._scores = b""

    def add_credit(self, more: int) -> None:
        """See Attachment."""
        self.set_credit(self.credit + max(more, 0))

    def set_credit(self, credit: int) -> None:
        """Allow ``credit`` deliveries from now on, whatever was allowed before."""
        self.credit = min(credit, self._dispatch.max_in_flight)
        self._starved = False
        self._dispatch.wake()

    def give_back(self, less: int) -> int:
        """Take back up to ``less`` of the credit that is left; returns how much that was."""
        back = min(less, self.credit)
        self.credit -= back
        return back

    def starve(self, ready: int) -> None:
        """``ready`` events wait for credit; who hears that is told once, until there is credit again."""
        if self.on_starved is not None and not self._starved:
            self._starved = True
            self.on_starved(ready)

    def score(self, slot: int) -> bytes:
        """Return the consumer's score for a slot of keys: a rendezvous hash of its label."""
        if not self._scores:
            self._scores = shake_128(self.label.encode()).digest(SCORE_BYTES * KEY_SLOTS)
        return self._scores[SCORE_BYTES * slot : SCORE_BYTES * (slot + 1)]

    def settle(self, settlement: Settlement) -> list[str]:
        """See Attachment."""
        return self._dispatch.settle(settlement, self)

    def undo(self, delivery_id: str) -> None:
        """Give a delivery back that says nothing of its event: it is tried again, and was no attempt."""
        self._dispatch.undo([delivery_id])

    def detach(self, *, requeue: bool = True) -> None:
        """See Attachment."""
        if self.open:
            self.open = False
            self._dispatch.detach(self, requeue=requeue)


class Holders:
    """The holders of one subscription, taking turns."""

    def __init__(self) -> None:
        self._all: list[Holder] = []
        self._turn = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Holder]:
        return iter(self._all)

    @property
    def near(self) -> int:
        """How many of them are connected to this node."""
        return sum(holder.near for holder in self._all)

    def takers(self, nodes: int) -> list[Holder]:
        """Return the consumers that keys go to: those connected to this node, which cost the least, if they are no
        smaller a part of all than this node is of ``nodes``; else all.
        """
        near = [holder for holder in self._all if holder.near]
        return near if len(near) * nodes >= len(self._all) else list(self._all)

    def add(self, holder: Holder) -> None:
        """Let a holder take turns."""
        self._all.append(holder)

    def remove(self, holder: Holder) -> None:
        """Let a holder take no more turns."""
        self._all.remove(holder)

    def clear(self) -> list[Holder]:
        """Remove and return all."""
        gone, self._all = self._all, []
        return gone

    def next(self) -> Holder | None:
        """Return the next holder with credit, one connected to this node if there is any: it costs the least."""
        far = None
        for step in range(1, len(self._all) + 1):
            turn = (self._turn + step) % len(self._all)
            holder = self._all[turn]
            if holder.credit > 0:
                if holder.near:
                    self._turn = turn
                    return holder
                far = turn if far is None else far
        if far is None:
            return None
        self._turn = far
        return self._all[far]
