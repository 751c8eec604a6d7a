"""How far earlier owners of a partition spilled, for subscriptions that need not be awake to be owed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router_node.log.port import LaneKey, PartitionState, Position


class HighWater:
    """The high-water marks of the partitions owned here, by subscription.

    A mark matters for as long as its partition is owned: an event at or below it may be read again from its stream at
    any time before the reader has gone by, and would be put behind younger ones if nobody remembered.
    """

    def __init__(self) -> None:
        self._marks: dict[int, dict[str, Mapping[LaneKey, Position]]] = {}

    def keep(self, partition: int, subscription: str, marks: Mapping[LaneKey, Position]) -> None:
        """Remember the marks of a subscription's lanes in a partition that was taken up."""
        if marks:
            self._marks.setdefault(partition, {})[subscription] = marks

    def of(self, subscription: str) -> Iterator[tuple[int, PartitionState]]:
        """Yield each partition in which a subscription has marks, with them."""
        for partition, by_subscription in self._marks.items():
            if (marks := by_subscription.get(subscription)) is not None:
                yield partition, PartitionState(high_water=dict(marks))

    def lose(self, partition: int) -> None:
        """Forget a partition: its next owner is told by the log."""
        self._marks.pop(partition, None)

    def forget(self, subscription: str) -> None:
        """Forget a subscription that is gone: another of its name owes nothing to its queues."""
        for by_subscription in self._marks.values():
            by_subscription.pop(subscription, None)
