"""HTTP publish, one event a request, answered after the append: the router, and a bare ASGI route beside it.

One node, which also stores every event in PostgreSQL, or the route of ``benchmarks.bare_asgi`` on the same uvicorn,
which does not; by turns, on one Redis. The load is a process of its own with 64 connections, each of which sends the
next event when the last is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.cpu import CpuMeter
from benchmarks.report import RESULTS, Run, Target, machine, print_runs, save
from benchmarks.role import role
from benchmarks.systems import RUN_WITHIN_S, Servers
from tests.support.node_process import NodeProcess
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

OURS, BARE = "event router", "bare ASGI route"
TARGETS = (Target(OURS, BARE, 0.8, due=False),)


class Load(NamedTuple):
    """How many events, over how many connections."""

    events: int
    connections: int


class Answered(NamedTuple):
    """A run, and the milliseconds from a request to its answer."""

    run: Run
    p50: float
    p99: float

    def to_object(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        return {**self.run._asdict(), "events_per_s": self.run.rate, "p50_ms": self.p50, "p99_ms": self.p99}


async def run_event_router(servers: Servers, load: Load) -> Answered:
    """Publish to a node."""
    url = await servers.database()
    async with NodeProcess(redis_url=servers.redis.url, database_url=url) as node:
        pids = {"server": node.process.pid, **servers.pids()}
        return await _answered(OURS, load, node.port, "/v1/events", pids)


async def run_bare(servers: Servers, load: Load) -> Answered:
    """Publish to the bare route."""
    servers.empty_redis()
    port = free_port()
    async with role("server", "benchmarks.bare_asgi", "--redis", servers.redis.url, "--port", str(port)) as server:
        return await _answered(BARE, load, port, "/", {"server": server.pid, "redis": servers.pids()["redis"]})


async def _answered(name: str, load: Load, port: int, path: str, pids: Mapping[str, int]) -> Answered:
    arguments = ("--port", str(port), "--path", path, "--count", str(load.events))
    async with role("load", "benchmarks.http_load", *arguments, "--connections", str(load.connections)) as client:
        meter = CpuMeter({"load": client.pid, **pids})
        client.begin()
        result = await client.result(RUN_WITHIN_S)
        run = Run(name, load.events, result["ended"] - result["began"], meter.spent())
    if result["answered"] != load.events:
        raise AssertionError(f"{name} answered {result['answered']} of {load.events} requests")
    return Answered(run, result["p50"], result["p99"])


async def measure(load: Load, rounds: int) -> list[Answered]:
    """Run both ``rounds`` times, by turns."""
    measured: list[Answered] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        for number in range(1, rounds + 1):
            for run in (run_event_router, run_bare):
                measured.append(await run(servers, load))
                latest = measured[-1].run
                sys.stderr.write(f"round {number}: {latest.system}: {latest.rate:,.0f} requests/s\n")
    return measured


def print_latencies(measured: list[Answered]) -> None:
    """Print what a request waits for its answer, medians of the rounds."""
    for name in (OURS, BARE):
        ours = [each for each in measured if each.run.system == name]
        p50, p99 = median(each.p50 for each in ours), median(each.p99 for each in ours)
        Console().print(f"{name}: answered within {p50:.1f} ms (p50), {p99:.1f} ms (p99)")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_publish", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="requests of a run (%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="how many (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "http_publish.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    measured = asyncio.run(measure(Load(chosen.events, chosen.connections), chosen.rounds))
    print_runs([each.run for each in measured], TARGETS, title="HTTP publish, one event a request, medians")
    print_latencies(measured)
    save(chosen.out, {"machine": machine(), "runs": [each.to_object() for each in measured]})


if __name__ == "__main__":
    main()
