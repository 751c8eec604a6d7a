"""From a publish on one node to a handler on another, through a third: ``python -m benchmarks.cluster_latency``.

Three nodes; the publisher is connected to the first, the consumer to the second. Only events whose partition another
node than the consumer's owns are counted. With ``--nodes 1`` all happens at one node, and all events count. By turns
with it, a loop written by hand with redis-py at the same rate, on the same Redis: XADD of each event, XREADGROUP with
BLOCK in another process, XACK. It stores nothing and keeps no order over several consumers. Every part is a process of
its own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cpu import CpuMeter
from benchmarks.report import RESULTS, Goal, machine, print_goals, save
from benchmarks.role import role
from benchmarks.systems import Servers
from tests.cluster.site import get, nodes
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

RUN_WITHIN_S = 300.0
PARTITIONS, LEASE_MS, WARM_S = 64, 3000, 2
ROUTER, LOOP = "event router", "hand-written loop"
AT_MOST = {3: {"p50": 3.0, "p99": 5.0}, 1: {"p50": 2.5, "p99": 4.0}}
"""By the number of nodes: how many times the loop's latency the router's may be."""


class Run(NamedTuple):
    """One run: latencies in ms, the share of all events that they are of, and the cores that were busy."""

    system: str
    rate: float
    share: float
    count: int
    p50: float
    p99: float
    highest: float
    cores: dict[str, float]


class Bench:
    """The servers and nodes, and how to run either system once."""

    def __init__(self, servers: Servers, cluster: Sequence[NodeProcess], rate: int, seconds: int) -> None:
        self._servers = servers
        self._cluster = cluster
        self._rate = rate
        self._seconds = seconds
        self._sent = 0

    async def router(self) -> Run:
        """Publish to the first node, consume from the second, if there is one."""
        first, *others = [node.url.replace("http://", "ws://") for node in self._cluster]
        before = await self._owners()
        elsewhere = [partition for partition, owner in before.items() if owner != "two"]
        counted = ("--counted", *map(str, elsewhere)) if others else ()
        run = await self._run(ROUTER, "router", first, others[0] if others else first, counted)
        if await self._owners() != before:
            raise AssertionError("partitions moved during the run")
        return run

    async def loop(self) -> Run:
        """Publish and consume without a router."""
        return await self._run(LOOP, "loop", self._servers.redis.url, self._servers.redis.url, ())

    async def _run(self, system: str, kind: str, to: str, source: str, counted: Sequence[str]) -> Run:
        count = (WARM_S + self._seconds) * self._rate
        numbers = {"skip": self._sent, "count": count, "rate": self._rate, "warm": WARM_S * self._rate}
        self._sent += count
        shared = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        shared += ["--partitions", str(PARTITIONS)]
        module = "benchmarks.cluster_latency_parts"
        async with AsyncExitStack() as stack:
            consume = (f"{kind}_consume", "--url", source, *shared, *counted)
            consumer = await stack.enter_async_context(role("consumer", module, *consume))
            produce = (f"{kind}_produce", "--url", to, *shared)
            producer = await stack.enter_async_context(role("producer", module, *produce))
            pids = {"publisher": producer.pid, "consumer": consumer.pid, **self._servers.pids()}
            meter = CpuMeter({**pids, **{f"node {node.port}": node.process.pid for node in self._cluster}})
            producer.begin()
            rate = (await producer.result(RUN_WITHIN_S))["rate"]
            found = await consumer.result(RUN_WITHIN_S)
            spent = meter.spent()
        took_s = count / rate
        cores = {name: used / took_s for name, used in spent.items() if not name.startswith("node")}
        cores["nodes"] = sum(used / took_s for name, used in spent.items() if name.startswith("node"))
        return Run(system, rate, **found, cores=cores)

    async def _owners(self) -> dict[int, str | None]:
        found = (await get(self._cluster[0], "/v1/partitions"))["partitions"]
        return {each["partition"]: each["owner"] for each in found}


async def measure(rate: int, seconds: int, rounds: int, number_of_nodes: int) -> list[Run]:
    """Run both systems ``rounds`` times, by turns."""
    runs: list[Run] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        url = await servers.database()
        async with nodes(redis_server.url, url, number_of_nodes, partitions=PARTITIONS, lease_ms=LEASE_MS) as cluster:
            bench = Bench(servers, cluster, rate, seconds)
            for number in range(1, rounds + 1):
                for run in (bench.loop, bench.router):
                    runs.append(await run())
                    each = runs[-1]
                    sys.stderr.write(f"round {number}: {each.system}: p50 {each.p50:.2f}, p99 {each.p99:.2f} ms\n")
    return runs


def median_of(runs: Sequence[Run], system: str, figure: str) -> float:
    """Return the median of a figure over a system's runs."""
    return median(getattr(run, figure) for run in runs if run.system == system)


def print_runs(runs: Sequence[Run]) -> None:
    """Print the medians of both systems."""
    parts = list(runs[0].cores)
    table = Table(title="Latency, medians", caption="ms from publish to handler; on the right: cores each keeps busy")
    for heading in ("system", "events/s", "counted", "p50", "p99", "highest", "p99 by round", *parts):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for system in (LOOP, ROUTER):
        ours = [run for run in runs if run.system == system]
        figures = (f"{median_of(runs, system, name):.2f}" for name in ("p50", "p99", "highest"))
        rounds = " ".join(f"{run.p99:.1f}" for run in ours)
        busy = (f"{median(run.cores[part] for run in ours):.2f}" for part in parts)
        share = f"{median_of(runs, system, 'share'):.0%}"
        table.add_row(system, f"{median_of(runs, system, 'rate'):,.0f}", share, *figures, rounds, *busy)
    Console(width=max(Console().width, 140)).print(table)


def goals(runs: Sequence[Run], number_of_nodes: int) -> list[Goal]:
    """What this is held to."""
    return [
        Goal(f"{name}, router / loop", median_of(runs, ROUTER, name) / median_of(runs, LOOP, name), at_most=most)
        for name, most in AT_MOST[number_of_nodes].items()
    ]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_latency", description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="events a second (%(default)s)")
    parser.add_argument("--seconds", type=int, default=20, help="of a run, besides the first two (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system (%(default)s)")
    parser.add_argument("--nodes", type=int, choices=AT_MOST, default=3, help="how many (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "cluster_latency.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    runs = asyncio.run(measure(chosen.rate, chosen.seconds, chosen.rounds, chosen.nodes))
    print_runs(runs)
    reached = goals(runs, chosen.nodes)
    print_goals(reached)
    results: list[dict[str, Any]] = [run._asdict() for run in runs]
    save(chosen.out, {"machine": machine(), "runs": results, "goals": [goal.to_object() for goal in reached]})


if __name__ == "__main__":
    main()
