"""The path of an event, joined from its stages: publish -> append -> read -> match -> deliver -> settle.

This is the map for a newcomer. Each stage is a file of ``flow/`` and knows none of the others; what one needs of the
next is handed to it here. Persistence hangs off match as the first subscriber, the delivery log off deliver.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any

import structlog

from partitioning.slots import slot_table
from router_client.appending.group_commit import Appender, AppendToLog, Relocate
from router_client.errors import ClosedError, EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.delivery.right import Right
from router_node.delivery.sequencer import InOrder, Sequencer
from router_node.delivery.undeliverable import Undeliverable
from router_node.flow.deliver import Dispatch
from router_node.flow.discard import Discarder
from router_node.flow.match import RouterEngine
from router_node.flow.outbox import OutboxKeeper
from router_node.flow.persist import LANE as STORE_LANE
from router_node.flow.persist import Persister
from router_node.flow.publish import Publisher
from router_node.flow.read import Bell, Reader
from router_node.flow.record import Recorder
from router_node.flow.schedule import Scheduler
from router_node.flow.settle import Settler
from router_node.flow.undecided import UndecidedKeeper
from router_node.log.port import (
    SCHEDULE,
    DurableLanes,
    Entry,
    Generations,
    IngestLog,
    LaneKey,
    Position,
)
from router_node.routing.registry import Registry
from router_node.routing.route import Receiver
from router_node.routing.subscription import Subscription
from router_node.storing import Storing
from stores.ports import EventStore, Outbox

ROUTER_LANE = "_router"
TICK_S = 0.05
FULL_S = 0.25
DRAIN_S = 5.0
RECORD_S = 2.0
LET_GO_S = 0.15
COUNTED = ("delivered", "acked", "retried", "dead_lettered", "dropped", "expired", "skipped")

log = structlog.get_logger(__name__)


class Pipeline:
    """The stages of one node, running.

    ``right`` is ownership's word on what may be delivered; ``lost`` gives a partition up; ``ring`` tells the owner of a
    stream that it has something (at first this node's own bell); ``said`` has what was said to other nodes sent now;
    ``foreign`` knows subscriptions that live on other nodes, whose queues are not to be dropped; ``place`` and
    ``relocate`` find the partition of a slot; ``fenced`` hears of fences read.
    """

    def __init__(
        self,
        *,
        partitions: int,
        ingest: IngestLog,
        lanes: DurableLanes,
        generations: Generations,
        append_replicated: AppendToLog,
        store: EventStore,
        outbox: Outbox,
        storing: Storing,
        recorder: Recorder,
        clock: Clock,
        right: Right,
        lost: Callable[[int], None],
        foreign: Callable[[str], bool] = lambda _: False,
        place: Callable[[int], tuple[int, int]],
        relocate: Relocate = lambda record, _: record,
        global_filters: Sequence[Mapping[str, Any]] = (),
        max_event_bytes: int,
    ) -> None:
        self.partitions = partitions
        self.storing = storing
        self.recorder = recorder
        self._lanes = lanes
        self._clock = clock
        self._right = right
        self._on_lost, self._foreign = lost, foreign
        self._sharers = 1
        self.fenced: Callable[[Entry], None] = self._unexpected_fence
        self.bell = Bell()
        self.ring: Callable[[int, int], None] = self.bell.ring
        self.said: Callable[[], None] = lambda: None
        self.outbox = OutboxKeeper(outbox, generations, lambda p: slot_table(self.partitions).slots_of(p))
        self.settler = settler = Settler(ingest, lanes, self._lose, self.outbox.released)
        self._unroutable = Undeliverable(ROUTER_LANE, settler, clock)
        refused = Undeliverable(STORE_LANE, settler, clock)
        kept, released = self.outbox.were_stored, self.outbox.released
        self.persister = Persister(store, outbox, lanes, settler.release, refused, self._lose, kept, released)
        self.sequencer = Sequencer(settler.release)
        self._serials = count()
        self.registry = Registry(self._new_dispatch, clock, self._way_in)
        self.scheduler = Scheduler(lanes, settler, clock, self.rang, self._lose)
        self.router = RouterEngine(
            self.registry.match,
            self.registry.routes.compiled(global_filters),
            self.persister.offer if storing.everything else self.persister.offer_promised,
            self._bury_unreadable,
            UndecidedKeeper(self._unroutable, ROUTER_LANE).keep,
            settler.release,
            self.scheduler.defer,
        )
        self.reader = Reader(ingest, self.bell, settler, self.sequencer, self._route)
        ingest.follower = self
        self.appender = Appender(ingest.append, relocate)
        self.replicating = Appender(append_replicated, relocate)
        self.publisher = self._new_publisher(place, max_event_bytes)
        self.ended_totals: Counter[str] = Counter()
        self.refused_subscriptions: set[str] = set()
        self.discarder = Discarder(lanes, self.outbox.released)

    def goes_to(self, name: str, event: Mapping[str, Any]) -> bool:
        """Tell whether a subscription would get an event that was routed now. Raises NotFound."""
        self.registry.check(name)
        return self.router.goes_to(name, event)

    async def own(self, partition: int, barred: Collection[LaneKey] = ()) -> None:
        """Take up a partition whose lease is ours: what earlier owners spilled first, then what they left pending.

        ``barred`` lanes may only queue for now.
        """
        state = await self._lanes.load(partition)
        self.persister.resume(partition, state)
        self.scheduler.resume(partition, state)
        for lane in barred:
            if lane.subscription in self.registry:
                self.registry.get(lane.subscription).window.bar(partition, lane.priority)
        self.registry.resume(partition, state)
        self.discarder.abandon(lane for lane in state.queued if not self._is_known(lane.subscription))
        self.reader.own(partition)

    async def open(self, partition: int) -> bool:
        """Have a partition take appends, after it was fed what it has lost; False when it is not ours any more."""
        return await self.outbox.open(partition)

    def disown(self, partition: int) -> None:
        """Drop everything of a partition: its next owner goes on from what is durable."""
        self.reader.lose(partition)
        self.sequencer.lose(partition)
        self.persister.lose(partition)
        self.scheduler.lose(partition)
        self.registry.lose(partition)
        self.settler.forget(partition)

    async def let_go(self, partitions: Collection[int]) -> None:
        """Begin nothing new for partitions, and wait a little for what is under way to be settled.

        What is not settled by then is spilled, so that their next owner delivers that again and nothing else: an entry
        left behind for the one lane would be repeated in all.
        """
        for partition in partitions:
            self.reader.lose(partition)
            self.registry.freeze(partition)
        try:
            async with asyncio.timeout(LET_GO_S):
                while any(dispatch.in_flight.from_partitions(partitions) for dispatch in self.registry):
                    await self.settler.progress()
        except TimeoutError:
            left = sum(dispatch.in_flight.from_partitions(partitions) for dispatch in self.registry)
            log.info("handing over with deliveries under way; they are repeated", deliveries=left)
        for dispatch in self.registry:
            dispatch.spill_from(partitions)
        try:
            async with asyncio.timeout(LET_GO_S):
                await self.settler.written()
        except TimeoutError:
            log.info("handing over without having written everything; the next owner repeats it")

    def share(self, nodes: int) -> None:
        """Learn how many nodes deliver: what is bounded for a subscription is shared among them."""
        if self._sharers == max(1, nodes):
            return
        self._sharers = max(1, nodes)
        for dispatch in self.registry:
            dispatch.sharers = self._sharers

    async def run(self, stop: asyncio.Event) -> None:
        """Run the stages until ``stop``, then drain: no new publishes, no new reads, what is in flight settles."""
        async with asyncio.TaskGroup() as tasks:
            appending = [
                tasks.create_task(self.appender.run(), name="append"),
                tasks.create_task(self.replicating.run(), name="append replicated"),
            ]
            reading = tasks.create_task(self.reader.run(), name="read")
            ticking = tasks.create_task(self._tick(), name="tick")
            scheduling = tasks.create_task(self.scheduler.run(), name="schedule")
            settling = [
                tasks.create_task(self.persister.run(), name="persist"),
                tasks.create_task(self.settler.run(), name="settle"),
                tasks.create_task(self.discarder.run(), name="discard"),
                tasks.create_task(self.outbox.run(), name="outbox"),
                tasks.create_task(self.recorder.run(), name="record"),
            ]
            await stop.wait()
            self.appender.close()
            self.replicating.close()
            await asyncio.wait(appending, timeout=DRAIN_S)
            reading.cancel()
            ticking.cancel()
            scheduling.cancel()
            await self._drain()
            await self._drain_records()
            for task in (*appending, *settling):
                task.cancel()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.persister.idle()
                await self.settler.quiet()
        except TimeoutError:
            log.warning("stopping with work in flight; its next owner repeats it", waiting=self.persister.waiting)

    async def _drain_records(self) -> None:
        try:
            async with asyncio.timeout(RECORD_S):
                await self.recorder.drain()
        except TimeoutError:
            log.warning("stopping with attempts that are not in the delivery log", attempts=self.recorder.waiting)

    async def _tick(self) -> None:
        full_since = None
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.monotonic()
            for dispatch in self.registry:
                dispatch.tick(now)
            for dispatch in self.registry.settle_down(now):
                self._keep_counts(dispatch)
            if self.settler.has_room:
                full_since = None
            elif full_since is None:
                full_since = now
            elif now - full_since > FULL_S:
                full_since = now
                for dispatch in self.registry:
                    dispatch.yield_room()

    def _route(self, entry: Entry) -> None:
        if entry.fence:
            self.fenced(entry)
            return
        self.settler.hold(entry)
        self.router.route(entry)

    def rang(self, partition: int, priority: int) -> None:
        """See Follower."""
        self.ring(partition, priority)

    def brought(self, entry: Entry, before: bytes) -> None:
        """See Follower."""
        self.reader.take(entry, before)

    def all_brought(self) -> None:
        """See Follower: deliver it now, not in the next turn of the event loop."""
        self.settler.pump()
        self.said()

    def _unexpected_fence(self, entry: Entry) -> None:
        log.error("a fence in a log that does not grow", partition=entry.partition, priority=entry.priority)

    def _lose(self, partition: int) -> None:
        self.disown(partition)
        self._on_lost(partition)

    def _new_publisher(self, place: Callable[[int], tuple[int, int]], max_event_bytes: int) -> Publisher:
        return Publisher(
            place,
            self.appender.hand_in,
            self.replicating.hand_in,
            self.outbox.stored,
            self._clock.log_us,
            max_event_bytes,
            self.storing.refused_levels,
        )

    def _new_dispatch(self, spec: SubscriptionSpec) -> Dispatch:
        dispatch = Dispatch(
            spec,
            self.settler,
            self._clock,
            self._right,
            lambda: self.end(spec.name, ClosedError("its last consumer left")),
            self.recorder,
            self._serials,
        )
        dispatch.sharers = self._sharers
        return dispatch

    def _way_in(self, subscription: Subscription) -> Receiver:
        if subscription.strict:
            return InOrder(self.sequencer, subscription)  # what it holds may be for a later dispatch than today's
        return subscription.receiver

    def end(self, name: str, error: EventRouterError) -> None:
        """End a subscription: its consumers are told, its backlog is dropped."""
        dispatch = self.registry.remove(name)
        if dispatch is not None:
            self.discarder.abandon(dispatch.window.lanes())
            dispatch.end(error)
            self._keep_counts(dispatch)

    def _keep_counts(self, dispatch: Dispatch) -> None:
        self.ended_totals.update({each: getattr(dispatch, each) for each in COUNTED})

    def _is_known(self, subscription: str) -> bool:
        known = (STORE_LANE, ROUTER_LANE, SCHEDULE, *self.refused_subscriptions)
        return subscription in self.registry or subscription in known or self._foreign(subscription)

    def _bury_unreadable(self, entry: Entry, position: Position, body: bytes, error: str) -> None:
        lane = LaneKey(entry.partition, ROUTER_LANE, entry.priority)
        letter = self._unroutable.letter(lane, position, entry.accepted_at(position), body, "unreadable", error)
        self._unroutable.bury(entry, [letter])
