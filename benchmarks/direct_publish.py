"""Publishing over redis:// beside ws://, by turns, to a cluster of one node, which routes and stores every event.

What is timed is the publisher: from its first publish to its last answer. The CPU is that of all that follows, until
every event is stored.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import asyncpg

from benchmarks.cpu import CpuMeter
from benchmarks.report import RESULTS, Run, Target, machine, print_runs, save
from benchmarks.role import role
from benchmarks.systems import RUN_WITHIN_S, Servers
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.signals import wait_for

WAYS = ("batches", "singles")
SCHEMES = ("ws", "redis")
TARGETS = tuple(Target(f"redis, {way}", f"ws, {way}", 1.0, due=False) for way in WAYS)


async def run_once(servers: Servers, scheme: str, way: str, count: int) -> Run:
    """Publish ``count`` events to a new node on empty servers."""
    database_url = await servers.database()
    async with NodeProcess(redis_url=servers.redis.url, database_url=database_url) as node:
        url = servers.redis.url if scheme == "redis" else f"ws://127.0.0.1:{node.port}"
        arguments = (way, "--url", url, "--count", str(count))
        async with role("publisher", "benchmarks.direct_publish_part", *arguments) as publisher:
            meter = CpuMeter({"publisher": publisher.pid, "node": node.process.pid, **servers.pids()})
            publisher.begin()
            told = await publisher.result(RUN_WITHIN_S)
            await _all_stored(database_url, count)
            return Run(f"{scheme}, {way}", count, told["ended"] - told["began"], meter.spent())


async def _all_stored(url: str, count: int) -> None:
    database = await asyncpg.connect(url, timeout=10)
    try:

        async def stored() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM events", timeout=30) >= count)

        await wait_for(stored, RUN_WITHIN_S, f"{count} rows in PostgreSQL")
    finally:
        await database.close()


async def measure(count: int, rounds: int) -> list[Run]:
    """Run each ``rounds`` times, by turns."""
    runs: list[Run] = []
    with RedisServer().start(appendonly=False) as redis, PostgresServer(durable=True) as postgres:
        servers = Servers(redis, postgres)
        for number in range(1, rounds + 1):
            for way in WAYS:
                for scheme in SCHEMES:
                    runs.append(await run_once(servers, scheme, way, count))
                    sys.stderr.write(f"round {number}: {runs[-1].system}: {runs[-1].rate:,.0f} publishes/s\n")
    return runs


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.direct_publish", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="events of a run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "direct_publish.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    runs = asyncio.run(measure(chosen.events, chosen.rounds))
    print_runs(runs, TARGETS, title="Publishing, medians")
    save(chosen.out, {"machine": machine(), "runs": [run._asdict() for run in runs]})


if __name__ == "__main__":
    main()
