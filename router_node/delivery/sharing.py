"""What is ready for delivery, shared among the consumers of one subscription.

An event with a key goes to the key's consumer, and waits for it when it has no credit: competing consumers never see
the same key while both live. The key's consumer is found by rendezvous hashing over 1,024 slots (Thaler and
Ravishankar, 1998): a consumer that comes or goes moves only its own share of the keys.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from zlib import crc32

from router_client.spec import Overflow
from router_node.delivery.holder import KEY_SLOTS, Holder, Holders
from router_node.delivery.item import Item
from router_node.delivery.priority_queue import Offer, PriorityQueue


class Sharing:
    """Ready items: those of a key in its consumer's queue, all others in one that any consumer takes from.

    ``takers`` are the consumers a key may go to. Nothing here is bounded but what is offered: the rest was admitted to
    memory before.
    """

    def __init__(self, holders: Holders, capacity: int, overflow: Overflow, takers: Callable[[], list[Holder]]) -> None:
        self._holders = holders
        self._takers = takers
        self._common: PriorityQueue[Item] = PriorityQueue(capacity, overflow)
        self._own: dict[Holder, PriorityQueue[Item]] = {}
        self._by_slot: dict[int, Holder] = {}
        self._candidates: list[Holder] | None = None

    def __len__(self) -> int:
        return len(self._common) + sum(map(len, self._own.values()))

    @property
    def dropped(self) -> int:
        """Items given up by the overflow policy."""
        return self._common.dropped

    def offer(self, item: Item) -> tuple[Offer, Item | None]:
        """Queue an item of a bounded buffer; returns what became of it, and the item given up to make room, if any."""
        return self._common.offer(item, item.priority)

    def push(self, item: Item) -> None:
        """Queue an item that memory has room for."""
        self._queue_of(item).push(item, item.priority)

    def push_front(self, item: Item) -> None:
        """Queue an item before its level's others: one that was given back."""
        self._queue_of(item).push_front(item, item.priority)

    def regroup(self) -> None:
        """Find the consumers of keys anew: one has come or gone."""
        queues, self._own = self._own, {}
        self._by_slot.clear()
        self._candidates = None
        items = self._common.clear() if len(self._holders) else []
        for queue in queues.values():
            items += queue.clear()
        for item in items:
            self.push(item)

    def deal(self) -> Iterator[tuple[Item, Holder]]:
        """Yield items with the consumer to give each to, whose credit must be used before the next is asked for."""
        able = deque((holder, queue) for holder, queue in self._own.items() if len(queue))
        common = self._common
        while able or len(common):
            if len(common):
                if (anyone := self._holders.next()) is not None and (item := common.pop()) is not None:
                    yield item, anyone
                elif not able:
                    return
            if able:
                holder, queue = able[0]
                if holder.credit > 0 and (item := queue.pop()) is not None:
                    yield item, holder
                    able.rotate(-1)
                else:
                    able.popleft()

    def starving(self) -> Iterator[tuple[Holder, int]]:
        """Yield consumers without credit, and how many items wait for each."""
        common = len(self._common)
        for holder in self._holders:
            own = self._own.get(holder)
            waiting = common + (len(own) if own is not None else 0)
            if waiting and holder.credit <= 0:
                yield holder, waiting

    @property
    def wanting(self) -> bool:
        """Some consumer has credit and nothing to spend it on."""
        if len(self._common):
            return False
        return any(holder.credit > 0 and not len(self._own.get(holder, ())) for holder in self._holders)

    def consumer_of(self, key: str) -> Holder:
        """Return the consumer that takes a key's events; there must be one."""
        if self._candidates is None:
            self._candidates = self._takers()
        if len(self._candidates) == 1:
            return self._candidates[0]
        slot = crc32(key.encode()) % KEY_SLOTS
        found = self._by_slot.get(slot)
        if found is None:
            found = max(self._candidates, key=lambda holder: holder.score(slot))
            self._by_slot[slot] = found
        return found

    def _queue_of(self, item: Item) -> PriorityQueue[Item]:
        if item.key is None or not len(self._holders):
            return self._common
        holder = self.consumer_of(item.key)
        queue = self._own.get(holder)
        if queue is None:
            queue = self._own[holder] = PriorityQueue(0)
        return queue
