"""The composition root: a node is put together here, from settings, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from partitioning.keys import Keys
from partitioning.leases import Leases
from router_client.errors import ClosedError, Conflict, EventRouterError
from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.clock import SystemClock
from router_node.cluster.ownership import Ownership
from router_node.config import ConfigError, Settings
from router_node.contract import Attachment, Consumer, Published, Settlement
from router_node.edges.server import serve
from router_node.embedded_cluster import EmbeddedCluster
from router_node.log.memory import MemoryLog
from router_node.log.pipeline import RedisPipeline
from router_node.log.port import IngestLog, LaneLog
from router_node.log.redis_lanes import STEP, RedisLanes
from router_node.log.redis_streams import APPEND, SETTLE, RedisStreams
from router_node.operations import Operations
from router_node.pipeline import Pipeline
from router_node.routing.filter_language import compile_filter
from router_node.telemetry.metrics import Metrics
from stores.dead_letters import RedisDeadLetters
from stores.errors import StoreUnavailable
from stores.open import open_database
from stores.ports import Database, DeadLetters
from stores.sqlite.database import SqliteDatabase

EMBEDDED_PARTITIONS = 8
START_S = 60.0
REDIS_S = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Node:
    """A running node: the engine for its edges, and its management."""

    def __init__(self, settings: Settings, pipeline: Pipeline, operations: Operations, metrics: Metrics) -> None:
        self.settings = settings
        self.pipeline = pipeline
        self.management = operations
        self.metrics = metrics

    @property
    def engine(self) -> Node:
        """The node as contract.Engine."""
        return self

    async def publish(self, objects: Sequence[object], *, ack: str = "accepted") -> list[Published | EventRouterError]:
        """See Engine."""
        return await self.pipeline.publisher.publish(objects, ack=ack)

    async def publish_events(
        self, events: Sequence[Event | EventRouterError], *, ack: str = "accepted"
    ) -> list[Published | EventRouterError]:
        """See Engine."""
        return await self.pipeline.publisher.publish_events(events, ack=ack)

    async def open(self, spec: SubscriptionSpec, consumer: Consumer, credit: int) -> Attachment:
        """See Engine."""
        registry = self.pipeline.registry
        if not spec.durable and spec.name in registry and not registry.get(spec.name).spec.durable:
            raise Conflict(f"an ephemeral subscription named {spec.name} is open already", field="name")
        await self.management.put(spec)
        return registry.get(spec.name).attach(consumer, credit)

    def attach(self, name: str, consumer: Consumer, credit: int) -> Attachment:
        """See Engine."""
        return self.pipeline.registry.get(name).attach(consumer, credit)

    def settle(self, name: str, settlement: Settlement) -> list[str]:
        """See Engine."""
        return self.pipeline.registry.get(name).settle(settlement)


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

    Raises StoreUnavailable or redis errors when what it needs cannot be reached within a minute of starting.
    """
    async with _running(settings) as node:
        host, port = settings.address
        await serve(node, node.management, settings, node.metrics.text, stop, ready, host=host, port=port)


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        database = await open_database(settings.database_url)
        stack.push_async_callback(database.close)
        await _insist(database.migrate, "the database")
        make = _memory_node if settings.redis_url is None else _redis_node
        async with make(settings, database) as node:
            stopped = asyncio.Event()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(node.pipeline.run(stopped), name="pipeline")
                    try:
                        yield node
                    finally:
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
    started = time.time_ns() // 1_000_000  # as an epoch: delivery ids of an earlier run must not fit this one's
    node = _assemble(
        settings, partitions, memory, memory, database, letters, SystemClock(), lambda _: started, lambda _: None
    )
    await node.management.load_subscriptions()
    for partition in range(partitions):
        await node.pipeline.own(partition)
    yield node


@asynccontextmanager
async def _redis_node(settings: Settings, database: Database) -> AsyncIterator[Node]:
    assert settings.redis_url is not None  # noqa: S101 - told apart by the caller
    keys = Keys(settings.cluster)
    async with AsyncExitStack() as stack:
        redis = Redis.from_url(settings.redis_url, socket_timeout=None, socket_connect_timeout=REDIS_S, protocol=2)
        stack.push_async_callback(redis.aclose)
        partitions = await _insist(lambda: _agreed_partitions(redis, keys, settings.partitions), "Redis")
        pipe = RedisPipeline(settings.redis_url, [APPEND, SETTLE, STEP])
        stack.push_async_callback(pipe.close)
        tokens: dict[int, str] = {}
        streams = RedisStreams(
            pipe, keys, tokens, backlog_limit=settings.backlog_limit, dedup_window_s=settings.dedup_window_s
        )
        clock = SystemClock(await streams.now_us() - time.time_ns() // 1000)
        letters = RedisDeadLetters(redis, keys, partitions)
        leases = Leases(redis, keys, settings.node_id, settings.lease_ms)
        ownership = Ownership(leases, partitions, settings.lease_ms, tokens)
        node = _assemble(
            settings,
            partitions,
            streams,
            RedisLanes(pipe, keys, tokens),
            database,
            letters,
            clock,
            ownership.epoch,
            ownership.lost,
        )

        async def own(taken: Sequence[int]) -> None:
            # The subscriptions may have changed at the node that had the partitions before.
            await node.management.load_subscriptions()
            for partition in taken:
                await node.pipeline.own(partition)

        async with ownership.held(own, node.pipeline.disown):
            yield node


def _assemble(
    settings: Settings,
    partitions: int,
    ingest: IngestLog,
    lanes: LaneLog,
    database: Database,
    letters: DeadLetters,
    clock: SystemClock,
    epoch: Callable[[int], int],
    lost: Callable[[int], None],
) -> Node:
    pipeline = Pipeline(
        partitions=partitions,
        ingest=ingest,
        lanes=lanes,
        store=database.events,
        clock=clock,
        epoch=epoch,
        lost=lost,
        global_filters=[compile_filter(spec) for spec in settings.global_filters],
        max_event_bytes=settings.max_event_bytes,
    )
    cluster = EmbeddedCluster(pipeline, ingest, settings, epoch)
    operations = Operations(pipeline, ingest, lanes, database, letters, cluster)
    return Node(settings, pipeline, operations, Metrics(pipeline))


async def _agreed_partitions(redis: Redis, keys: Keys, wanted: int) -> int:
    """Return the cluster's number of partitions: set by its first start, kept in Redis, the same for every node."""
    await redis.hsetnx(keys.meta(), "partitions", str(wanted))
    return int(await redis.hget(keys.meta(), "partitions") or wanted)


async def _insist(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Call until it works, for at most ``START_S``: what a node needs may be starting at the same time as the node."""
    give_up_at = time.monotonic() + START_S
    pause = 0.2
    while True:
        try:
            return await call()
        except (StoreUnavailable, RedisError, OSError) as error:
            if time.monotonic() + pause > give_up_at:
                raise
            log.warning("waiting for what the node needs", what=what, error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
