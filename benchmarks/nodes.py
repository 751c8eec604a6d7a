"""One, two and three nodes on one Redis and one PostgreSQL: ``python -m benchmarks.nodes``.

Three publishers and three consumers, which compete for one durable subscription, are spread over the nodes; every part
is a process of its own. A run lasts from the first publish until the last event is acknowledged and stored. Where cores
are few, more nodes cannot be faster: what must not grow is the CPU time of an event.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import asyncpg
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.cpu import CpuMeter
from benchmarks.report import RESULTS, Run, cpu_of, machine, print_runs, rate_of, save
from benchmarks.role import Role, role
from benchmarks.systems import Servers
from partitioning.keys import Keys
from tests.cluster.site import nodes
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

RUN_WITHIN_S = 300.0
PARTITIONS, CLIENTS, LEASE_MS = 64, 3, 3000
NODES, SDK = "nodes", "SDK"
BUSY = 0.85
MAY_COST = 1.3


async def run(servers: Servers, count: int, events: int) -> Run:
    """Route ``events`` through ``count`` nodes, once."""
    url = await servers.database()
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            nodes(servers.redis.url, url, count, partitions=PARTITIONS, lease_ms=LEASE_MS)
        )
        addresses = [running[client % count].url.replace("http://", "ws://") for client in range(CLIENTS)]
        consumers, producers = await _clients(stack, addresses, events)
        redis = await stack.enter_async_context(Redis.from_url(servers.redis.url))
        pids = {f"{SDK} {part.pid}": part.pid for part in [*consumers, *producers]}
        pids |= {f"{NODES} {node.process.pid}": node.process.pid for node in running} | servers.pids()
        meter = CpuMeter(pids)
        for producer in producers:
            producer.begin()
        began = min([(await producer.result(RUN_WITHIN_S))["began"] for producer in producers])
        await wait_for(lambda: _all_settled(redis, events), RUN_WITHIN_S, f"{events} events are settled")
        seconds, spent = time.monotonic() - began, meter.spent()
        for consumer in consumers:
            consumer.begin()
        delivered = sum([(await consumer.result(RUN_WITHIN_S))["delivered"] for consumer in consumers])
    await _check(url, delivered, events)
    cpu_s: dict[str, float] = defaultdict(float)
    for name, used in spent.items():
        cpu_s[name.partition(" ")[0]] += used
    return Run(_name(count), events, seconds, dict(cpu_s))


async def _clients(stack: AsyncExitStack, addresses: Sequence[str], events: int) -> tuple[list[Role], list[Role]]:
    consumers, producers = [], []
    for number, address in enumerate(addresses):
        consumers.append(
            await stack.enter_async_context(
                role(f"consumer {number}", "benchmarks.competing", "consume", "--url", address)
            )
        )
    for number, address in enumerate(addresses):
        skip, end = number * events // CLIENTS, (number + 1) * events // CLIENTS
        share = ("--skip", str(skip), "--count", str(end - skip))
        producers.append(
            await stack.enter_async_context(
                role(f"producer {number}", "benchmarks.competing", "produce", "--url", address, *share)
            )
        )
    return consumers, producers


async def _all_settled(redis: Redis, events: int) -> bool:
    keys = Keys("default")
    async with redis.pipeline(transaction=False) as pipe:
        for partition in range(PARTITIONS):
            pipe.hget(keys.position(partition), "settled")
        for partition in range(PARTITIONS):
            pipe.exists(keys.lanes(partition))
        replies = await pipe.execute()
    return sum(int(settled or 0) for settled in replies[:PARTITIONS]) >= events and not any(replies[PARTITIONS:])


async def _check(url: str, delivered: int, events: int) -> None:
    database = await asyncpg.connect(url, timeout=10)
    try:
        rows = await database.fetchval("SELECT count(*) FROM events", timeout=30)
    finally:
        await database.close()
    if delivered < events or rows != events:
        raise AssertionError(f"of {events} events {delivered} were delivered and {rows} stored")


def _name(count: int) -> str:
    return f"{count} node{'s' if count > 1 else ''}"


def limit(runs: Sequence[Run], count: int, cores: int) -> str:
    """Say what kept some runs of ``count`` nodes from being faster."""
    ours = [run for run in runs if run.system == _name(count)]
    used = median(sum(run.cpu_s.values()) / run.seconds for run in ours)
    shares = {name: median(run.cpu_s[name] / run.seconds for run in ours) for name in ours[0].cpu_s}
    if used >= BUSY * cores:
        most = max(shares, key=lambda name: shares[name])
        return f"the machine: {used:.2f} of {cores} cores are busy, {most} with {shares[most]:.2f}"
    if shares[NODES] >= BUSY * count:
        return f"the nodes: each keeps {shares[NODES] / count:.2f} of a core busy, and has no second"
    if shares["redis"] >= BUSY:
        return f"Redis: it keeps {shares['redis']:.2f} of its one core busy"
    return f"waiting: only {used:.2f} of {cores} cores are busy, the nodes with {shares[NODES]:.2f}"


def print_costs(runs: Sequence[Run], counts: Sequence[int], cores: int) -> None:
    """Print events per CPU-second, what limits each, and how the cost of an event grows with the nodes."""
    table = Table(title="Events per CPU-second, medians")
    parts = list(runs[0].cpu_s)
    for heading in ("nodes", *parts, "all", "limited by"):
        table.add_column(heading, justify="left" if heading == "limited by" else "right")
    for count in counts:
        cpu = cpu_of(runs, _name(count))
        rates = [f"{1000 / cpu[part]:,.0f}" for part in parts]
        table.add_row(str(count), *rates, f"{1000 / sum(cpu.values()):,.0f}", limit(runs, count, cores))
    console = Console(width=max(Console().width, 130))
    console.print(table)
    first, last = (cpu_of(runs, _name(count)) for count in (counts[0], counts[-1]))
    for part, before, after in (
        (NODES, first[NODES], last[NODES]),
        ("all", sum(first.values()), sum(last.values())),
    ):
        reached = "reached" if after / before <= MAY_COST else "not yet"
        console.print(
            f"CPU of an event, {part}, {_name(counts[-1])} / {_name(counts[0])}: {after / before:.2f} "
            f"(goal at most {MAY_COST:g}: {reached})"
        )


async def measure(counts: Sequence[int], events: int, rounds: int) -> list[Run]:
    """Run each number of nodes ``rounds`` times, by turns."""
    runs: list[Run] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        for number in range(1, rounds + 1):
            for count in counts:
                runs.append(await run(servers, count, events))
                sys.stderr.write(f"round {number}: {runs[-1].system}: {runs[-1].rate:,.0f} events/s\n")
    return runs


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="of a run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs with each number of nodes (%(default)s)")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3], help="how many (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "nodes.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    cores = os.cpu_count() or 1
    runs = asyncio.run(measure(chosen.nodes, chosen.events, chosen.rounds))
    print_runs(runs, ())
    print_costs(runs, chosen.nodes, cores)
    rates = {_name(count): rate_of(runs, _name(count)) for count in chosen.nodes}
    results = [{**run._asdict(), "events_per_s": run.rate} for run in runs]
    save(chosen.out, {"machine": machine(), "events_per_s": rates, "runs": results})


if __name__ == "__main__":
    main()
