"""A load around a fault, and the verdict on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.aftermath import nothing_left, stored, unsettled
from tests.chaos.cluster_site import PARTITIONS, Site
from tests.chaos.conftest import Note
from tests.chaos.load import Level, Load

_LOOK_EVERY_S = 0.05

STEADY = 1500
RECOVERS_WITHIN_S = 60.0


class UnderLoad:
    """A site with its load, and how many repeats its faults may have caused so far."""

    def __init__(self, site: Site, load: Load) -> None:
        self.site = site
        self.load = load
        self.repeats_at_most = 0

    async def excuse_what_is_in_flight(self, deliveries: int = 0) -> int:
        """Take note of what a fault of this moment may repeat, ``deliveries`` besides; returns how many are in flight.

        An owner that is replaced leaves what it had not settled in Redis: that, and what publishers had under way, is
        delivered again, to each subscription at most once more. Nothing else has a reason to come twice.
        """
        level = self.load.level
        events = await unsettled(self.site.redis, PARTITIONS) + level.publishers * level.batch
        self.repeats_at_most += deliveries + events * len(self.load.checker.subscriptions)
        return events

    @asynccontextmanager
    async def excusing(self) -> AsyncIterator[None]:
        """As ``excuse_what_is_in_flight``, for a fault as long as the block: the most there ever was counts."""
        before, over = self.repeats_at_most, asyncio.Event()

        async def watch() -> int:
            most = 0
            while not over.is_set():
                most = max(most, await self.excuse_what_is_in_flight())
                await asyncio.sleep(_LOOK_EVERY_S)
            return most

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            try:
                yield
            finally:
                over.set()
        self.repeats_at_most = before + watching.result() * len(self.load.checker.subscriptions)


@asynccontextmanager
async def under_load(site: Site, seed: int, note: Note, level: Level | None = None) -> AsyncIterator[UnderLoad]:
    """Run the block, which holds the fault, in the middle of a steady load, and judge it afterwards.

    Leaving waits until events flow again, every acknowledged one is delivered, and nothing is left unsettled. Then it
    asserts what holds after every fault: nothing lost, nothing out of order, all stored, repeats excused.
    """
    load = Load(site.balancer.url, [node.url for node in site.nodes], seed=seed, partitions=PARTITIONS, level=level)
    run = UnderLoad(site, load)
    async with load.consuming():
        async with load.publishing():
            await load.flows(STEADY)
            yield run
            await load.flows(STEADY, RECOVERS_WITHIN_S)
        await load.all_delivered(RECOVERS_WITHIN_S)
        await nothing_left(site.redis, PARTITIONS, RECOVERS_WITHIN_S)
    await _judge(run, note)


async def _judge(run: UnderLoad, note: Note) -> None:
    checker, rows = run.load.checker, await stored(run.site.database_url)
    note("acknowledged", len(checker.acknowledged))
    note("repeats", f"{checker.repeats} (at most {run.repeats_at_most})")
    for error, count in run.load.errors.most_common(5):
        note("publishers and consumers saw", f"{count} x {error}")
    assert checker.undelivered() == {}
    assert checker.violations == []
    assert rows.keys() == checker.acknowledged
    assert checker.repeats <= run.repeats_at_most
