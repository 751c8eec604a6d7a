"""Where a record goes: by the routes as far as they have been heard of, and by what was there before they changed."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from partitioning.growth import Plan, Routes
from partitioning.slots import slot_table
from router_client.appending.records import Moved, NewRecord


class Placing:
    """Follows the plan of partitions, for who appends.

    ``remember_s`` is how long a partition's ids are asked about after its slots have moved, the deduplication window.
    """

    def __init__(self, plan: Plan, remember_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.routes = Routes(plan.partitions)
        self.plan = plan
        self.moved = 0
        self._remember_s = remember_s
        self._now = now
        self._seen_at = now() if plan.target or plan.steps else float("-inf")

    def relocate(self, record: NewRecord, moved: Moved) -> NewRecord:
        """Find where a record goes now."""
        self.moved += 1
        self.routes.moved(moved.partition, moved.table)
        partition, table = self.routes.partition_of(record.slot)
        return replace(record, partition=partition, table=table)

    def former(self, record: NewRecord) -> int | None:
        """Return the partition that had a record's slot before, while it may know the record's id."""
        before_growth = self.routes.first(record.slot)
        if before_growth != record.partition:
            return before_growth
        if self._now() - self._seen_at > self._remember_s:
            return None
        for before, after in reversed(self.plan.steps):
            if before <= record.partition < after:
                return slot_table(before).owners[record.slot]
        return None

    def learned(self, plan: Plan) -> bool:
        """Take up the plan in force; True when it is another one."""
        new = plan != self.plan
        if new:
            self._seen_at = self._now()
        self.plan = plan
        self.routes.grown(plan.partitions)
        return new
