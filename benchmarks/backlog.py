"""A million events wait for a subscription nobody consumes, and are then drained: ``python -m benchmarks.backlog``.

First the live rate: a consumer takes what is published meanwhile. It leaves, the backlog is published, and another
consumer of the same subscription drains it. The consumers check that every event came, in order per key. Node,
publisher and consumers are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.cpu import CpuMeter
from benchmarks.event_router import SUBSCRIPTION
from benchmarks.memory import redis_mib, watched
from benchmarks.report import RESULTS, Goal, machine, print_goals, save
from benchmarks.role import Role, role
from benchmarks.systems import Servers
from partitioning.keys import Keys
from tests.cluster.site import get
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

RUN_WITHIN_S = 1800.0
PARTITIONS = 64
GROWTH_MIB, DRAIN_RATE = 100.0, 0.7


class Phase(NamedTuple):
    """What one part of the run came to; memory in MiB, ``cpu_s`` in seconds by process."""

    name: str
    events: int
    seconds: float
    node_before: float
    node_peak: float
    redis_after: float
    cpu_s: dict[str, float]

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


@dataclass(slots=True)
class Span:
    """When a phase began and ended, by the monotonic clock."""

    began: float = 0.0
    ended: float = 0.0


class Site:
    """The node with its servers, the processes around it, and the phases so far."""

    def __init__(self, servers: Servers, node: NodeProcess, redis: Redis) -> None:
        self._servers = servers
        self._node = node
        self._redis = redis
        self.phases: list[Phase] = []

    async def live(self, events: int) -> None:
        """Publish while a consumer takes what comes."""
        async with self._part("consume", 0, events) as consumer, self._part("produce", 0, events) as producer:
            consumer.begin()
            await consumer.result(RUN_WITHIN_S)
            async with self._measured("live", events, consumer, producer) as span:
                producer.begin()
                span.began = (await producer.result(RUN_WITHIN_S))["began"]
                span.ended = (await consumer.result(RUN_WITHIN_S))["ended"]
            await self._all_settled(events)

    async def fill(self, skip: int, events: int) -> None:
        """Publish while nobody consumes; over when all of it waits in the subscription's queues and is stored."""
        async with self._part("produce", skip, events) as producer, self._measured("fill", events, producer) as span:
            producer.begin()
            span.began = (await producer.result(RUN_WITHIN_S))["began"]
            await self._all_settled(skip + events)
            span.ended = time.monotonic()
        backlog = (await get(self._node, f"/v1/subscriptions/{SUBSCRIPTION}"))["backlog"]
        if backlog != events:
            raise AssertionError(f"of {events} events {backlog} wait for the subscription")

    async def drain(self, skip: int, events: int) -> None:
        """Consume what waits."""
        async with self._part("consume", skip, events) as consumer:
            async with self._measured("drain", events, consumer) as span:
                consumer.begin()
                span.began = (await consumer.result(RUN_WITHIN_S))["began"]
                span.ended = (await consumer.result(RUN_WITHIN_S))["ended"]
            await wait_for(self._nothing_queued, RUN_WITHIN_S, "the queues are empty")

    @asynccontextmanager
    async def _measured(self, name: str, events: int, *parts: Role) -> AsyncIterator[Span]:
        meter = CpuMeter(
            {"node": self._node.process.pid, **self._servers.pids(), **{part.name: part.pid for part in parts}}
        )
        span = Span()
        async with watched(self._node.process.pid) as rss:
            yield span
            cpu_s = meter.spent()
        redis_after = await asyncio.to_thread(redis_mib, self._servers.redis.url)
        seconds = span.ended - span.began
        self.phases.append(Phase(name, events, seconds, rss.before, rss.peak, redis_after, cpu_s))

    @asynccontextmanager
    async def _part(self, what: str, skip: int, events: int) -> AsyncIterator[Role]:
        address = self._node.url.replace("http://", "ws://")
        arguments = (what, "--url", address, "--skip", str(skip), "--count", str(events))
        async with role(f"{what}r", "benchmarks.backlog_parts", *arguments) as part:
            yield part

    async def _all_settled(self, events: int) -> None:
        keys = Keys("default")

        async def settled() -> bool:
            async with self._redis.pipeline(transaction=False) as pipe:
                for partition in range(PARTITIONS):
                    pipe.hget(keys.position(partition), "settled")
                return sum(int(each or 0) for each in await pipe.execute()) >= events

        await wait_for(settled, RUN_WITHIN_S, f"{events} events have left the ingest streams")

    async def _nothing_queued(self) -> bool:
        keys = Keys("default")
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in range(PARTITIONS):
                pipe.exists(keys.lanes(partition))
            return not any(await pipe.execute())


async def measure(live: int, backlog: int) -> list[Phase]:
    """Run the three phases on servers of their own."""
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        url = await servers.database()
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(
                NodeProcess(redis_url=redis_server.url, database_url=url, ER_PARTITIONS=str(PARTITIONS))
            )
            redis = await stack.enter_async_context(Redis.from_url(redis_server.url))
            site = Site(servers, node, redis)
            await site.live(live)
            await site.fill(live, backlog)
            await site.drain(live, backlog)
        database = await asyncpg.connect(url, timeout=10)
        rows = await database.fetchval("SELECT count(*) FROM events", timeout=60)
        await database.close()
        if rows != live + backlog:
            raise AssertionError(f"of {live + backlog} events {rows} are stored")
    return site.phases


def print_phases(phases: list[Phase]) -> None:
    """Print rates, memory and CPU seconds."""
    parts = list(dict.fromkeys(name for phase in phases for name in phase.cpu_s))
    table = Table(
        title="A backlog", caption="memory in MiB; on the right: CPU seconds per 1,000 events of each process"
    )
    for heading in ("phase", "events", "events/s", "node before", "node peak", "Redis after", *parts):
        table.add_column(heading, justify="left" if heading == "phase" else "right")
    for phase in phases:
        memory = (f"{each:,.0f}" for each in (phase.node_before, phase.node_peak, phase.redis_after))
        cpu = (f"{1000 * phase.cpu_s[part] / phase.events:.3f}" if part in phase.cpu_s else "" for part in parts)
        table.add_row(phase.name, f"{phase.events:,}", f"{phase.rate:,.0f}", *memory, *cpu)
    Console(width=max(Console().width, 130)).print(table)


def goals(phases: list[Phase]) -> list[Goal]:
    """What this is held to."""
    live, fill, drain = phases
    grown = max(fill.node_peak, drain.node_peak) - live.node_before
    return [
        Goal("memory of the node, highest - before anything", grown, at_most=GROWTH_MIB, unit=" MiB"),
        Goal("rate of the drain / live rate", drain.rate / live.rate, at_least=DRAIN_RATE),
    ]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the backlog (%(default)s)")
    parser.add_argument("--live", type=int, default=100_000, help="events of the live run (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "backlog.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    phases = asyncio.run(measure(chosen.live, chosen.events))
    print_phases(phases)
    reached = goals(phases)
    print_goals(reached)
    results = [{**phase._asdict(), "events_per_s": phase.rate} for phase in phases]
    save(chosen.out, {"machine": machine(), "phases": results, "goals": [goal.to_object() for goal in reached]})


if __name__ == "__main__":
    main()
