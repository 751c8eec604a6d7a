"""The composition root: a node is put together here, from settings, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from partitioning.growth import GROWTH_SCRIPTS, Growth, Routes
from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases
from partitioning.membership import HEARTBEAT, Membership
from partitioning.redis_connect import connect
from router_client.appending.group_commit import AppendToLog, Relocate
from router_client.appending.placing import Placing
from router_client.errors import ClosedError, Conflict, EventRouterError, Unavailable
from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.clock import SystemClock
from router_node.cluster.cluster import Cluster
from router_node.cluster.form import form_cluster
from router_node.cluster.growing import Growing
from router_node.cluster.ownership import Ownership, SoleOwner
from router_node.cluster.peer_link import PeerLink
from router_node.cluster.subscription_sync import RAISE_VERSION
from router_node.config import ConfigError, Settings
from router_node.contract import Attachment, Consumer, Results, Settlement
from router_node.delivery.right import Right
from router_node.destinations.destinations import Destinations
from router_node.edges.security import security_of, shared_by_all
from router_node.edges.server import serve
from router_node.embedded_cluster import EmbeddedCluster
from router_node.filter_desk import FilterDesk
from router_node.flow.record import Recorder
from router_node.kafka.kafka_side import KafkaSide
from router_node.log.memory import MemoryLog
from router_node.log.port import DurableLanes, Generations, IngestLog
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_lanes import LANE_SCRIPTS, RedisLanes
from router_node.log.redis_streams import STREAM_SCRIPTS, RedisStreams
from router_node.operations import KEPT, Operations
from router_node.pipeline import Pipeline
from router_node.replay_desk import ReplayDesk
from router_node.replay_run import Means
from router_node.replaying import Replaying
from router_node.retention import Retention
from router_node.secured import Secured, secure
from router_node.security.directory_sync import NOTICE
from router_node.security.gate import OPEN, Access
from router_node.security.permit import Permit
from router_node.security.shared_counts import COUNT_SCRIPTS
from router_node.starting import agreed_plan, when_there
from router_node.storing import Storing
from router_node.telemetry.metrics import Metrics
from stores.dead_letters import RedisDeadLetters
from stores.open import open_database
from stores.ports import Database, DeadLetters
from stores.sqlite.database import SqliteDatabase

EMBEDDED_PARTITIONS = 8
SCRIPTS = (*STREAM_SCRIPTS, *LANE_SCRIPTS, HEARTBEAT, RAISE_VERSION, *LEASE_SCRIPTS, *GROWTH_SCRIPTS, *COUNT_SCRIPTS)


class Node:
    """A running node: the engine for its edges, and its management. ``cluster`` is None when it is embedded."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        operations: Operations,
        metrics: Metrics,
        retention: Retention,
        destinations: Destinations,
        kafka: KafkaSide,
        replaying: Replaying,
        secured: Secured,
        cluster: Cluster | None = None,
    ) -> None:
        self.settings = settings
        self.pipeline = pipeline
        self.management = operations
        self.management.access = secured.desk
        self.metrics = metrics
        self.destinations = destinations
        self.kafka = kafka
        self.replaying = replaying
        self.secured = secured
        self.conduct = metrics.conduct
        self.retention = retention
        self.cluster = cluster
        self.security = security_of(settings, secured.gate)
        metrics.measure_bounds(lambda: self.security)

    @property
    def engine(self) -> Node:
        """The node as contract.Engine."""
        return self

    async def publish(
        self, objects: Sequence[object], *, ack: str = "accepted", permit: Permit | None = None
    ) -> Results:
        """See Engine."""
        self._check_reachable()
        return await self.pipeline.publisher.publish(objects, ack=ack, permit=permit)

    def begin_publish(
        self,
        objects: Sequence[object],
        done: Callable[[Results | EventRouterError], None],
        permit: Permit | None = None,
    ) -> None:
        """See Engine."""
        self._check_reachable()
        self.pipeline.publisher.begin(objects, done, permit)

    async def publish_events(
        self, events: Sequence[Event | EventRouterError], *, ack: str = "accepted", permit: Permit | None = None
    ) -> Results:
        """See Engine."""
        self._check_reachable()
        return await self.pipeline.publisher.publish_events(events, ack=ack, permit=permit)

    def topics(self, name: str) -> tuple[str, ...]:
        """See Engine."""
        return self.pipeline.registry.spec(name).topics

    async def open(self, spec: SubscriptionSpec, consumer: Consumer, credit: int, access: Access = OPEN) -> Attachment:
        """See Engine."""
        _check_destination(spec)
        registry = self.pipeline.registry
        if spec.name in registry:
            _check_destination(registry.spec(spec.name))  # a consumer's spec is not to take a webhook's place
        if not spec.durable and self.cluster is not None:
            return await self.cluster.open(spec, consumer, credit)
        if spec.durable and spec.name in registry:
            spec = replace(spec, **{each: getattr(registry.spec(spec.name), each) for each in KEPT})
        if not spec.durable and spec.name in registry and not registry.spec(spec.name).durable:
            raise Conflict(f"an ephemeral subscription named {spec.name} is open already", field="name")
        await self.management.put(spec, access)
        return self.attach(spec.name, consumer, credit)

    def attach(self, name: str, consumer: Consumer, credit: int) -> Attachment:
        """See Engine. Raises Conflict when the subscription's events go to a webhook."""
        _check_destination(self.pipeline.registry.spec(name))
        if self.cluster is not None:
            return self.cluster.attachments.attach(name, consumer, credit)
        return self.pipeline.registry.get(name).attach(consumer, credit)

    async def settle(self, name: str, settlement: Settlement) -> list[str]:
        """See Engine."""
        if self.cluster is not None:
            return await self.cluster.settle(name, settlement)
        return self.pipeline.registry.get(name).settle(settlement)

    async def leave(self) -> None:
        """Hand this node's partitions to the others, while its clients are still served."""
        if self.cluster is not None:
            await self.cluster.leave()

    def _check_reachable(self) -> None:
        if self.cluster is not None and self.cluster.presence.cut_off:
            raise Unavailable(
                f"this node has had no answer from Redis for {self.cluster.presence.silent_s:.1f} s; publish to another"
            )


def _check_destination(spec: SubscriptionSpec) -> None:
    if spec.destination["kind"] != "consumer":
        raise Conflict(f"the events of {spec.name} go to a {spec.destination['kind']}; consume another", field="name")


@asynccontextmanager
async def embedded(
    database_url: str = "sqlite:///:memory:", *, settings: Settings | None = None
) -> AsyncIterator[Node]:
    """Run a node inside this process, on the memory log: for development, tests and small installs.

    Nothing listens on a port. Accepted events that were not stored yet are gone when the process dies.
    """
    async with _running(settings or Settings(database_url=database_url)) as node:
        yield node


async def run(settings: Settings, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Run a node with its edges until ``stop`` is set; ``ready`` is told the address once it serves.

    Raises StoreUnavailable or RedisUnavailable when what it needs cannot be reached within a minute of starting.
    """
    async with _running(settings) as node, asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(_leave_when(stop, node), name="leave")
        await serve(
            node,
            node.management,
            settings,
            node.metrics.text,
            node.conduct,
            stop,
            ready,
            host=settings.address[0],
            port=settings.address[1],
            security=node.security,
        )
        if not stop.is_set():
            leaving.cancel()


async def _leave_when(stop: asyncio.Event, node: Node) -> None:
    await stop.wait()
    await node.leave()


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        database = await open_database(settings.database_url)
        stack.push_async_callback(database.close)
        await when_there(database.migrate, "the database")
        make = _memory_node if settings.redis_url is None else _redis_node
        async with make(settings, database) as node, node.secured.kept_up():
            await when_there(node.secured.sync.look, "the database")
            stopped = asyncio.Event()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(node.pipeline.run(stopped), name="pipeline")
                    retaining = tasks.create_task(node.retention.run(), name="retention")
                    replaying = tasks.create_task(node.replaying.run(), name="replays")
                    try:
                        async with node.kafka.serving(node.publish_events), node.destinations.serving():
                            yield node
                    finally:
                        retaining.cancel()
                        replaying.cancel()
                        for dispatch in node.pipeline.registry:
                            dispatch.dismiss(ClosedError("the node is stopping"))
                        stopped.set()
            finally:
                stopped.set()


@asynccontextmanager
async def _memory_node(settings: Settings, database: Database) -> AsyncIterator[Node]:
    if not isinstance(database, SqliteDatabase):
        raise ConfigError(["database_url (ER_DATABASE_URL): an embedded node stores in SQLite; set ER_REDIS_URL too"])
    letters = database.dead_letters
    memory = MemoryLog(letters, backlog_limit=settings.backlog_limit, dedup_window_s=settings.dedup_window_s)
    partitions = min(settings.partitions, EMBEDDED_PARTITIONS)
    node = _assemble(
        settings,
        partitions,
        memory,
        memory,
        database,
        letters,
        SystemClock(),
        SoleOwner(),
        generations=memory,
        append_replicated=memory.append_replicated,
        place=Routes(partitions).partition_of,
    )
    await node.management.load_subscriptions()
    for partition in range(partitions):
        await node.pipeline.open(partition)
        await node.pipeline.own(partition)
    yield node


@asynccontextmanager
async def _redis_node(settings: Settings, database: Database) -> AsyncIterator[Node]:
    assert settings.redis_url is not None  # noqa: S101 - told apart by the caller
    keys = Keys(settings.cluster)
    async with AsyncExitStack() as stack:
        commands = connect(settings.redis_url, SCRIPTS)
        stack.push_async_callback(commands.close)
        growth = Growth(commands, keys, settings.limits)
        plan = await when_there(lambda: agreed_plan(growth, settings.partitions), "Redis")
        calls = RedisCalls(commands)
        tokens: dict[int, str] = {}
        membership = Membership(commands, keys, settings.node_id, settings.lease_ms)
        link = PeerLink(commands, keys, settings.node_id, membership.incarnation)
        placing = Placing(plan, settings.dedup_window_s)
        growing = Growing(growth, placing, tokens, lambda: link.notify("members"))
        streams = _streams(settings, calls, keys, tokens, placing)
        clock = SystemClock()
        clock.set_log_us(await streams.now_us())
        leases = Leases(commands, keys, settings.node_id, settings.lease_ms)
        ownership = Ownership(leases, settings.lease_ms, tokens, lambda _: link.notify("members"))
        node = _assemble(
            settings,
            plan.total,
            streams,
            RedisLanes(calls, keys, tokens),
            database,
            RedisDeadLetters(commands, keys, lambda: node.pipeline.partitions),
            clock,
            ownership,
            generations=streams,
            append_replicated=streams.append_replicated,
            lost=ownership.lost,
            foreign=lambda name: node.cluster is not None and node.cluster.lives(name),
            place=placing.routes.partition_of,
            relocate=placing.relocate,
        )
        node.cluster = form_cluster(
            settings,
            commands,
            keys,
            clock,
            node.pipeline,
            node.management,
            membership,
            link,
            leases,
            ownership,
            growing,
        )
        node.security = shared_by_all(node.security, commands, keys, settings.node_id, node.cluster.presence.live)
        node.cluster.notices["replays"] = lambda _: node.replaying.stir()
        node.cluster.notices[NOTICE] = node.secured.sync.heard
        node.secured.sync.notify = link.notify
        node.metrics.watch(node.cluster)
        async with node.cluster.joined():
            yield node


def _streams(
    settings: Settings, calls: RedisCalls, keys: Keys, tokens: dict[int, str], placing: Placing
) -> RedisStreams:
    return RedisStreams(
        calls,
        keys,
        tokens,
        backlog_limit=settings.backlog_limit,
        dedup_window_s=settings.dedup_window_s,
        former=placing.former,
        replicas=settings.replicas,
    )


def _assemble(
    settings: Settings,
    partitions: int,
    ingest: IngestLog,
    lanes: DurableLanes,
    database: Database,
    letters: DeadLetters,
    clock: SystemClock,
    right: Right,
    *,
    generations: Generations,
    append_replicated: AppendToLog,
    lost: Callable[[int], None] = lambda _: None,
    foreign: Callable[[str], bool] = lambda _: False,
    place: Callable[[int], tuple[int, int]],
    relocate: Relocate = lambda record, _: record,
) -> Node:
    pipeline = Pipeline(
        partitions=partitions,
        ingest=ingest,
        lanes=lanes,
        generations=generations,
        append_replicated=append_replicated,
        store=database.events,
        outbox=database.outbox,
        storing=Storing(settings.persist),
        recorder=Recorder(database.delivery_log, settings.node_id, settings.delivery_log),
        clock=clock,
        right=right,
        lost=lost,
        foreign=foreign,
        place=place,
        relocate=relocate,
        global_filters=settings.global_filters,
        max_event_bytes=settings.max_event_bytes,
    )
    registry = pipeline.registry
    cluster = EmbeddedCluster(pipeline, ingest, settings, right.epoch)
    kafka = KafkaSide(settings, clock)
    operations = Operations(pipeline, ingest, lanes, database, letters, cluster, kafka.check_destination)

    def mine() -> bool:
        # What one node does for all, the owner of the first partition does: that is somebody who is alive.
        return right.valid and (0, 0) in pipeline.reader.owned()

    retention = Retention(database.delivery_log, settings.delivery_log_days, clock, mine)
    replaying = Replaying(
        Means(database.replays, database.events, pipeline.goes_to, operations.requeue, place, clock, mine)
    )

    def changed() -> None:
        operations.others.replays_changed()

    operations.replays = ReplayDesk(database.replays, registry, pipeline.storing, replaying, ingest.now_us, changed)
    operations.filters = FilterDesk(registry, operations.event, settings.global_filters, settings.max_event_bytes)
    destinations = Destinations(registry, clock, settings.webhook_networks, operations.pause_subscription, kafka.send)
    secured = secure(settings, database, clock, mine)
    metrics = Metrics(pipeline, retention, destinations, kafka, secured)
    return Node(settings, pipeline, operations, metrics, retention, destinations, kafka, replaying, secured)
