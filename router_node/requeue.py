"""Queueing events again for one subscription, wherever their partitions are owned; see replay_run.Hands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from router_node.flow.persist import LANE as STORE_LANE
from router_node.log.port import NOWHERE, IngestLog, LaneKey, LaneLog, LaneStep, LaneStepped, Spill
from router_node.others import Others
from router_node.pipeline import Pipeline
from router_node.replay_run import Again


class Requeue:
    """Brings events behind what a subscription's lanes hold; ``others`` are the other nodes."""

    def __init__(self, pipeline: Pipeline, ingest: IngestLog, lanes: LaneLog, others: Callable[[], Others]) -> None:
        self._pipeline = pipeline
        self._ingest = ingest
        self._lanes = lanes
        self._others = others

    async def hand_over(self, subscription: str, events: Sequence[Again]) -> list[Again]:
        """See replay_run.Hands."""
        self._pipeline.registry.check(subscription)
        here, left = await self._others().queue(subscription, events)
        return left + await self.queue_here(subscription, here)

    async def queue_here(self, subscription: str, events: Sequence[Again]) -> list[Again]:
        """Queue events of this node's own partitions behind what the subscription's lanes hold.

        Returns those that are not: their partition is not owned here, or the log has no room. Raises NotFound and
        LogUnavailable.
        """
        window = self._pipeline.registry.get(subscription).window
        owned = self._pipeline.reader.owned()
        by_lane: dict[LaneKey, list[Again]] = defaultdict(list)
        left = [event for event in events if (event.partition, 0) not in owned]
        with ExitStack() as visits:
            for event in events:
                if (event.partition, 0) in owned:
                    lane = window.lane(event.partition, event.priority).key
                    if lane not in by_lane:
                        visits.enter_context(window.visit(event.partition, event.priority))
                    by_lane[lane].append(event)
            steps = [LaneStep(lane, spill=[_spill(each) for each in part]) for lane, part in by_lane.items()]
            for (lane, part), answer in zip(by_lane.items(), await self._lanes.step(steps), strict=True):
                if isinstance(answer, LaneStepped):
                    window.wrote(lane, answer.queued)
                else:
                    left += part
        return left

    async def backlog(self, subscription: str) -> int:
        """See replay_run.Hands."""
        return self.backlog_here(subscription) + await self._others().backlog(subscription)

    def backlog_here(self, subscription: str) -> int:
        """Return how many events wait for a subscription in this node's own partitions; 0 when it is not known."""
        dispatch = self._pipeline.registry.if_awake(subscription)
        return 0 if dispatch is None else dispatch.window.backlog

    async def stored_until(self) -> int:
        """See replay_run.Hands. What is not stored is unsettled, or has left its stream for the queue to the store."""
        partitions = range(self._pipeline.partitions)
        found = [await self._ingest.now_us()]
        unsettled = await self._ingest.oldest(partitions)
        wants = [(LaneKey(p, STORE_LANE, level), b"0", 1) for p in partitions for level in range(10)]
        found += [spilled[0].accepted_at_us for spilled in await self._lanes.fetch(wants) if spilled]
        return min(found if unsettled is None else [*found, unsettled])


def _spill(event: Again) -> Spill:
    return Spill(NOWHERE, event.accepted_at_us, event.body)
