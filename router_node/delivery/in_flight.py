"""The deliveries of one subscription that are under way, in the order in which they time out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import takewhile

from router_node.delivery.holder import Holder
from router_node.delivery.item import Item, State


class InFlight:
    """Deliveries by id, each with its consumer and its deadline."""

    def __init__(self) -> None:
        self._by_id: dict[str, Item] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, delivery_id: str) -> bool:
        return delivery_id in self._by_id

    def begin(self, item: Item, holder: Holder, delivery_id: str, now: float, deadline: float) -> None:
        """Count an item as handed to a consumer: one attempt more, one credit less."""
        item.state = State.IN_FLIGHT
        item.attempts += 1
        item.sent_at, item.deadline = now, deadline
        item.holder, item.delivery_id = holder, delivery_id
        self._by_id[delivery_id] = item
        holder.credit -= 1
        holder.in_flight += 1

    def land(self, item: Item) -> None:
        """Take an item out of flight, if it is."""
        self._by_id.pop(item.delivery_id, None)
        if item.holder is not None:
            item.holder.in_flight -= 1
            item.holder = None

    def extend(self, item: Item, deadline: float) -> None:
        """Give a delivery until ``deadline``."""
        item.deadline = deadline
        self._by_id[item.delivery_id] = self._by_id.pop(item.delivery_id)

    def held(self, delivery_id: str, holder: Holder | None) -> Item | None:
        """Return the delivery of that id if ``holder`` has it (anybody, when None)."""
        item = self._by_id.get(delivery_id)
        return item if item is not None and (holder is None or holder is item.holder) else None

    def of(self, holder: Holder) -> list[Item]:
        """Return what a consumer holds."""
        return [item for item in self._by_id.values() if item.holder is holder]

    def these(self, delivery_ids: Iterable[str]) -> list[Item]:
        """Return those of these deliveries that are under way."""
        return [self._by_id[each] for each in delivery_ids if each in self._by_id]

    def overdue(self, now: float) -> list[Item]:
        """Return what has not been settled by its deadline."""
        return list(takewhile(lambda item: item.deadline <= now, self._by_id.values()))

    def lingers(self, since: float) -> bool:
        """Tell whether the delivery that times out first began before ``since``, or nothing is under way."""
        first = next(iter(self._by_id.values()), None)
        return first is None or first.sent_at < since

    def from_partitions(self, partitions: Collection[int]) -> int:
        """Return how many come from these partitions."""
        return sum(item.lane.key.partition in partitions for item in self._by_id.values())

    def clear(self) -> None:
        """Forget all."""
        self._by_id.clear()
