"""This node's part in growing the number of partitions; partitioning/growth.py says what happens to each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from partitioning.errors import RedisUnavailable
from partitioning.growth import Growth, Passage, Plan
from router_client.appending.placing import Placing
from router_node.log.port import Entry, LaneKey
from router_node.pipeline import Pipeline

TICK_S = 0.05
PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class Growing:
    """Follows the plan, and takes the steps that are due for the partitions owned here (``tokens``)."""

    def __init__(
        self,
        growth: Growth,
        placing: Placing,
        tokens: Mapping[int, str],
        notify: Callable[[], None],
    ) -> None:
        self._growth = growth
        self._placing = placing
        self._tokens = tokens
        self._notify = notify
        self._pipeline: Pipeline | None = None
        self._sealed: dict[int, str] = {}
        self._fences: dict[tuple[int, int], Entry] = {}
        self._owing: set[int] = set()
        self._barred: dict[int, frozenset[str]] = {}
        self._due = asyncio.Event()
        self.passed = 0

    @property
    def plan(self) -> Plan:
        """The plan in force, as far as has been heard."""
        return self._placing.plan

    @property
    def moved(self) -> int:
        """Events of this node's publishers that were sent on to another partition."""
        return self._placing.moved

    def serve(self, pipeline: Pipeline) -> None:
        """Work on the partitions of this pipeline."""
        self._pipeline = pipeline
        pipeline.fenced = self._fence_read

    # -- for the rounds

    async def look(self) -> None:
        """Learn the plan in force. Raises RedisUnavailable."""
        plan = await self._growth.plan()
        if plan is None or plan.total < self.plan.total:
            await self._growth.restore(self.plan)
            return
        if self._placing.learned(plan):
            log.info("the plan of partitions", partitions=plan.partitions, target=plan.target or None)
        if self._pipeline is not None:
            self._pipeline.partitions = plan.total
        if plan.target or self._owing or self._barred:
            self._due.set()

    async def own(self, partition: int) -> bool:
        """Take a partition up; False while one of its parents still has to pass a fence. Raises RedisUnavailable."""
        pipeline = self._pipeline
        assert pipeline is not None  # noqa: S101 - served before anything is owned
        if not await pipeline.open(partition):
            return False
        parents = self.plan.parents(partition)
        barred: frozenset[str] = frozenset()
        if parents:
            passages = await self._growth.passages(parents)
            if not all(each.is_past(self._born_at(partition)) for each in passages.values()):
                return False
            barred = _owed(passages.values())
        await pipeline.own(partition, [LaneKey.of(partition, label) for label in barred])
        if barred:
            self._barred[partition] = barred
        if self.plan.steps:
            self._owing.add(partition)
        self._due.set()
        return True

    def disown(self, partition: int) -> None:
        """Forget a partition."""
        self._barred.pop(partition, None)
        self._owing.discard(partition)
        self._sealed.pop(partition, None)
        for source in [s for s in self._fences if s[0] == partition]:
            del self._fences[source]

    async def run(self) -> None:
        """Take what steps are due until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.step()
            except RedisUnavailable as error:
                log.warning("the growth waits for Redis", error=str(error))
                await asyncio.sleep(PAUSE_S)
            await asyncio.sleep(TICK_S)

    async def step(self) -> None:
        """Take the steps that are due now. Raises RedisUnavailable."""
        plan = self.plan
        if plan.target:
            await self._seal()
        if self._fences:
            await self._pass_fences()
        parents = set(range(plan.partitions)) if plan.target else set()
        passages = await self._growth.passages(parents.union(self._owing, *map(plan.parents, self._barred)))
        for partition in self._owing & passages.keys():
            await self._collect(partition, passages[partition])
        for partition in [each for each in self._barred if plan.parents(each) <= passages.keys()]:
            self._unbar(partition, _owed(passages[parent] for parent in plan.parents(partition)))
        if plan.target and all(passages[parent].is_past(plan.target) for parent in parents):
            await self._finish(plan.target)
        if self.plan.target or self._fences or self._owing or self._barred:
            self._due.set()

    # -- the steps

    async def _seal(self) -> None:
        to = self.plan.target
        due = {p: t for p, t in self._tokens.items() if p < self.plan.partitions and self._sealed.get(p) != t}
        if not due or not await self._growth.opened(range(self.plan.partitions, to)):
            return  # the children first: nobody is to wait for one
        for partition in await self._growth.seal(due, to):
            self._sealed[partition] = due[partition]
            self._owing.add(partition)
            self._placing.routes.moved(partition, to)
            for priority in range(10):
                self._ring(partition, priority)

    def _fence_read(self, entry: Entry) -> None:
        self._fences[entry.partition, entry.priority] = entry
        self._due.set()

    async def _pass_fences(self) -> None:
        pipeline = self._pipeline
        assert pipeline is not None  # noqa: S101 - fences come from it
        for (partition, priority), entry in list(self._fences.items()):
            token = self._tokens.get(partition)
            if token is None:
                continue
            if pipeline.settler.holds_before(partition, priority, entry.entry_id):
                for dispatch in pipeline.registry:
                    dispatch.spill(partition, priority)
                continue
            if await self._growth.pass_fence(partition, priority, token, entry.fence, entry.entry_id):
                self.passed += 1
                self._notify()
            self._fences.pop((partition, priority), None)

    async def _collect(self, partition: int, passage: Passage) -> None:
        """See which lanes of a parent have settled what they owed."""
        token = self._tokens.get(partition)
        if token is None:
            self._owing.discard(partition)
        elif passage.owed:
            await self._growth.clear(partition, token, passage.owed)
        elif not self.plan.target or passage.is_past(self.plan.target):
            self._owing.discard(partition)

    def _unbar(self, partition: int, owed: frozenset[str]) -> None:
        """Let lanes of a child go on whose parents have settled what came before."""
        before = self._barred.pop(partition)
        for label in before - owed:
            lane = LaneKey.of(partition, label)
            dispatch = None if self._pipeline is None else self._pipeline.registry.if_awake(lane.subscription)
            if dispatch is not None:
                dispatch.window.unbar(partition, lane.priority)
        if before & owed:
            self._barred[partition] = before & owed

    async def _finish(self, to: int) -> None:
        await self._growth.finish(to)
        await self.look()
        self._notify()

    def _born_at(self, partition: int) -> int:
        return next(after for before, after in self.plan.steps if before <= partition < after)

    def _ring(self, partition: int, priority: int) -> None:
        if self._pipeline is not None:
            self._pipeline.bell.ring(partition, priority)


def _owed(passages: Iterable[Passage]) -> frozenset[str]:
    return frozenset(label for passage in passages for label in passage.owed)
