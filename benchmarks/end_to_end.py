"""End to end, side by side on this machine: the router, the loop written by hand, and FastStream.

Each system runs as processes of its own against the same Redis (no append-only file) and PostgreSQL (its usual fsync),
emptied before every run; rounds alternate the systems. A run lasts from the first publish until the last event is
acknowledged and, for the systems that store, its row is in PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg
import redis

from benchmarks.cpu import CpuMeter
from benchmarks.report import RESULTS, Run, Target, machine, print_runs, save
from benchmarks.role import Role, role
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

RUN_WITHIN_S = 300.0
OURS, LOOP = "event router", "hand-written loop"
FASTSTREAM, FASTSTREAM_BATCH = "FastStream", "FastStream batch=True"
TARGETS = (
    Target(OURS, FASTSTREAM, 4.0, due=True),
    Target(OURS, FASTSTREAM_BATCH, 2.0, due=False),
    Target(OURS, LOOP, 0.7, due=False),
)


@dataclass(frozen=True, slots=True)
class Servers:
    """The two servers all systems share."""

    redis: RedisServer
    postgres: PostgresServer

    async def database(self) -> str:
        """Empty Redis and return the URL of a new database."""
        with redis.Redis.from_url(self.redis.url, socket_timeout=10) as connection:
            connection.flushall()
            connection.script_flush()
        return await self.postgres.create_database()

    def pids(self) -> dict[str, int]:
        """Return the process ids for the CPU meter."""
        return {"redis": self.redis.process.pid, "postgres": self.postgres.process.pid}


class System(NamedTuple):
    """A system to measure: its name, how many events it gets, and how to run it once."""

    name: str
    events: int
    run: Callable[[Servers, int], Awaitable[Run]]


async def run_event_router(servers: Servers, count: int, name: str = OURS, **settings: str) -> Run:
    """Run the router: one node, a publisher and a consumer over WebSocket."""
    url = await servers.database()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(NodeProcess(redis_url=servers.redis.url, database_url=url, **settings))
        address = node.url.replace("http://", "ws://")
        arguments = ("--url", address, "--count", str(count))
        consumer = await stack.enter_async_context(role("consumer", "benchmarks.event_router", "consume", *arguments))
        producer = await stack.enter_async_context(role("producer", "benchmarks.event_router", "produce", *arguments))
        database = await asyncpg.connect(url, timeout=10)
        stack.push_async_callback(database.close)

        async def all_stored() -> float:
            await wait_for(lambda: _has_rows(database, count), RUN_WITHIN_S, f"{count} rows in PostgreSQL")
            return time.monotonic()

        pids = {**servers.pids(), "node": node.process.pid}
        return await _measure(name, count, producer, consumer, pids, all_stored)


async def run_loop(servers: Servers, count: int) -> Run:
    """Run the loop written by hand."""
    url = await servers.database()
    arguments = ("--redis", servers.redis.url, "--count", str(count))
    async with (
        role("consumer", "benchmarks.handwritten", "consume", "--database", url, *arguments) as consumer,
        role("producer", "benchmarks.handwritten", "produce", *arguments) as producer,
    ):
        return await _measure(LOOP, count, producer, consumer, servers.pids())


async def run_faststream(servers: Servers, count: int) -> Run:
    """Run FastStream as its tutorial shows it."""
    return await _faststream(FASTSTREAM, servers, count)


async def run_faststream_batch(servers: Servers, count: int) -> Run:
    """Run FastStream with a subscriber that takes lists."""
    return await _faststream(FASTSTREAM_BATCH, servers, count, "--batch")


async def _faststream(name: str, servers: Servers, count: int, *extra: str) -> Run:
    await servers.database()
    arguments = ("--redis", servers.redis.url, "--count", str(count), *extra)
    async with (
        role("consumer", "benchmarks.faststream_streams", "consume", *arguments) as consumer,
        role("producer", "benchmarks.faststream_streams", "produce", *arguments) as producer,
    ):
        return await _measure(name, count, producer, consumer, {"redis": servers.pids()["redis"]})


async def _measure(
    name: str,
    count: int,
    producer: Role,
    consumer: Role,
    pids: dict[str, int],
    until: Callable[[], Awaitable[float]] | None = None,
) -> Run:
    meter = CpuMeter({"producer": producer.pid, "consumer": consumer.pid, **pids})
    producer.begin()
    began = (await producer.result(RUN_WITHIN_S))["began"]
    consumed = await consumer.result(RUN_WITHIN_S)
    if consumed["delivered"] != count:
        raise AssertionError(f"{name} delivered {consumed['delivered']} of {count} events")
    ended = consumed["ended"]
    if until is not None:
        ended = max(ended, await until())
    return Run(name, count, ended - began, meter.spent())


async def _has_rows(database: asyncpg.Connection, count: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) FROM events", timeout=30) >= count)


async def measure(systems: list[System], rounds: int) -> list[Run]:
    """Run each system ``rounds`` times, by turns."""
    runs: list[Run] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        for number in range(1, rounds + 1):
            for system in systems:
                run = await system.run(servers, system.events)
                runs.append(run)
                sys.stderr.write(f"round {number}: {run.system}: {run.rate:,.0f} events/s in {run.seconds:.2f} s\n")
    return runs


def main() -> None:
    """Measure, print, save; exit 1 when a goal that is due is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="for all but the next (%(default)s)")
    parser.add_argument("--faststream-events", type=int, default=8_000, help="for its default consumer (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system (%(default)s)")
    parser.add_argument("--only", action="append", metavar="SYSTEM", help="measure only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS / "end_to_end.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    systems = [
        System(OURS, chosen.events, run_event_router),
        System(LOOP, chosen.events, run_loop),
        System(FASTSTREAM, chosen.faststream_events, run_faststream),
        System(FASTSTREAM_BATCH, chosen.events, run_faststream_batch),
    ]
    if chosen.only:
        unknown = set(chosen.only) - {system.name for system in systems}
        if unknown:
            parser.error(f"no such system: {', '.join(unknown)}; there are {', '.join(s.name for s in systems)}")
        systems = [system for system in systems if system.name in chosen.only]
    runs = asyncio.run(measure(systems, chosen.rounds))
    met = print_runs(runs, TARGETS)
    save(chosen.out, {"machine": machine(), "runs": [{**run._asdict(), "events_per_s": run.rate} for run in runs]})
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
