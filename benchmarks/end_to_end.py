"""End to end, side by side on this machine: the router, the loop written by hand, and peers.

Each system runs as processes of its own. Those on Redis share one (no append-only file), those that store share a
PostgreSQL (its usual fsync), both emptied before every run; a broker gets a new server of its own for each. Rounds
alternate the systems. A run lasts from the first publish until the last event is acknowledged and, for the systems that
store, its row is in PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import redis

from benchmarks.nats_server import nats_version
from benchmarks.peers import FASTSTREAM, FASTSTREAM_BATCH, JETSTREAM, PACKAGES, peers
from benchmarks.rabbitmq_server import rabbitmq_version
from benchmarks.report import RESULTS, Run, Target, machine, print_runs, save, versions
from benchmarks.systems import (
    LOOP,
    LOOP_ALONE,
    NOT_STORING,
    OURS,
    Servers,
    System,
    loops,
    not_storing,
    ours,
    with_priorities,
)
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

TARGETS = (
    Target(OURS, LOOP, 0.7, due=False),
    Target(NOT_STORING, LOOP_ALONE, 0.4, due=False),
    Target(OURS, JETSTREAM, 1.0, due=False),
    Target(OURS, FASTSTREAM, 4.0, due=True),
    Target(OURS, FASTSTREAM, 5.0, due=False),
    Target(OURS, FASTSTREAM_BATCH, 2.0, due=False),
)


async def measure(systems: Sequence[System], rounds: int) -> list[Run]:
    """Run each system ``rounds`` times, by turns."""
    runs, _ = await measure_on_servers(systems, rounds)
    return runs


async def measure_on_servers(systems: Sequence[System], rounds: int) -> tuple[list[Run], dict[str, str]]:
    """Run each system ``rounds`` times, by turns; returns the versions of the two servers too."""
    runs: list[Run] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        for number in range(1, rounds + 1):
            for system in systems:
                run = await system.run(servers, system.events)
                runs.append(run)
                sys.stderr.write(f"round {number}: {run.system}: {run.rate:,.0f} events/s in {run.seconds:.2f} s\n")
        return runs, await _server_versions(servers)


async def _server_versions(servers: Servers) -> dict[str, str]:
    with redis.Redis.from_url(servers.redis.url, socket_timeout=10) as connection:
        redis_version = str(connection.info("server")["redis_version"])
    database = await asyncpg.connect(servers.postgres.url, timeout=10)
    try:
        postgres_version = str(await database.fetchval("SHOW server_version")).partition(" ")[0]
    finally:
        await database.close(timeout=10)
    return {"Redis": redis_version, "PostgreSQL": postgres_version}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="for all but the next (%(default)s)")
    slow = "for the peers whose consumers take events one by one (%(default)s)"
    parser.add_argument("--slow-events", type=int, default=8_000, help=slow)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system (%(default)s)")
    parser.add_argument("--priorities", action="store_true", help="the router with all ten priorities mixed as well")
    parser.add_argument("--only", action="append", metavar="SYSTEM", help="measure only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS / "end_to_end.json", help="JSON file (%(default)s)")
    return parser


def _systems(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> tuple[list[System], dict[str, str]]:
    """Return what to measure, and what is left out with what it needs."""
    systems = [
        ours(chosen.events),
        not_storing(chosen.events),
        *loops(chosen.events),
        *peers(chosen.events, chosen.slow_events),
    ]
    if chosen.priorities:
        systems.insert(1, with_priorities(chosen.events))
    if chosen.only:
        unknown = set(chosen.only) - {system.name for system in systems}
        if unknown:
            parser.error(f"no such system: {', '.join(unknown)}; there are {', '.join(s.name for s in systems)}")
        systems = [system for system in systems if system.name in chosen.only]
    missing = {system.name: system.needs.missing() for system in systems}
    left_out = {name: needs for name, needs in missing.items() if needs}
    return [system for system in systems if system.name not in left_out], left_out


def _result(runs: Sequence[Run], left_out: Mapping[str, str], servers: Mapping[str, str]) -> dict[str, Any]:
    brokers = {"NATS server": nats_version(), "RabbitMQ": rabbitmq_version()}
    return {
        "machine": machine(),
        "versions": {**servers, **{name: found for name, found in brokers.items() if found}, **versions(PACKAGES)},
        "left_out": left_out,
        "runs": [{**run._asdict(), "events_per_s": run.rate} for run in runs],
    }


def main() -> None:
    """Measure, print, save; exit 1 when a goal that is due is missed."""
    parser = _parser()
    chosen = parser.parse_args()
    systems, left_out = _systems(parser, chosen)
    for name, needs in left_out.items():
        sys.stderr.write(f"{name} is left out; it needs {needs}\n")
    runs, servers = asyncio.run(measure_on_servers(systems, chosen.rounds))
    met = print_runs(runs, TARGETS)
    for name, needs in left_out.items():
        sys.stdout.write(f"{name} was left out; it needs {needs}\n")
    save(chosen.out, _result(runs, left_out, servers))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
