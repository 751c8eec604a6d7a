"""One consumer stalls, and the other 99 notice nothing: ``python -m benchmarks.stalled``.

A hundred durable subscriptions, each event going to several of them, on ten connections. First as many deliveries as
the machine can do; then, by turns, a run at a steady rate and the same run with one subscription's consumer asleep:
connected, on a connection it shares with nine others, holding its deliveries, acknowledging nothing. When it wakes it
must get everything, in order per key. The node is a process of its own, publisher and consumers are another.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cpu import CpuMeter
from benchmarks.memory import watched
from benchmarks.report import RESULTS, Goal, machine, print_goals, save
from benchmarks.role import Role, role
from benchmarks.systems import Servers
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

RUN_WITHIN_S = 900.0
CAPACITY, CALM, STALLED = "as fast as it goes", "calm", "one stalled"
SLOWER_AT_MOST, GROWTH_MIB = 1.5, 64.0


class Phase(NamedTuple):
    """One phase: what the clients measured, the node's memory in MiB, and the cores each process kept busy."""

    name: str
    measured: dict[str, float]
    node_before: float
    node_peak: float
    cores: dict[str, float]


async def phase(name: str, clients: Role, node: NodeProcess, servers: Servers) -> Phase:
    """Have the clients play the next phase."""
    pids = {"node": node.process.pid, "clients": clients.pid, **servers.pids()}
    meter = CpuMeter(pids)
    async with watched(node.process.pid) as rss:
        clients.begin()
        measured = await clients.result(RUN_WITHIN_S)
    cores = {part: used / measured["took_s"] for part, used in meter.spent().items()}
    return Phase(name, measured, rss.before, rss.peak, cores)


async def measure(chosen: argparse.Namespace) -> list[Phase]:
    """Run all phases on servers of their own."""
    options = ("subscriptions", "matches", "rate", "seconds", "rounds")
    arguments = [part for name in options for part in (f"--{name}", str(getattr(chosen, name)))]
    phases: list[Phase] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        url = await servers.database()
        async with NodeProcess(redis_url=redis_server.url, database_url=url) as node:
            address = node.url.replace("http://", "ws://")
            async with role("clients", "benchmarks.stalled_parts", "--url", address, *arguments) as clients:
                for name in (CAPACITY, *(CALM, STALLED) * chosen.rounds):
                    phases.append(await phase(name, clients, node, servers))
                    sys.stderr.write(f"{name}: p99 {phases[-1].measured['p99']:.1f} ms\n")
    return phases


def print_phases(phases: list[Phase]) -> None:
    """Print what each phase came to."""
    parts = list(phases[0].cores)
    table = Table(title="A stalled consumer", caption="times in ms, memory in MiB; on the right: cores each keeps busy")
    headings = (
        "phase",
        "events/s",
        "deliveries/s",
        "p50",
        "p99",
        "highest",
        "held",
        "caught up s",
        "again",
        "node before",
    )
    for heading in (*headings, "node peak", *parts):
        table.add_column(heading, justify="left" if heading == "phase" else "right")
    for each in phases:
        found = each.measured
        times = (f"{found[name]:.1f}" for name in ("p50", "p99", "highest"))
        late = (f"{found['held']:,.0f}", f"{found['caught_up_s']:.2f}", f"{found['repeated']:,.0f}")
        memory = (f"{each.node_before:,.0f}", f"{each.node_peak:,.0f}")
        busy = (f"{each.cores[part]:.2f}" for part in parts)
        rates = (f"{found['events_per_s']:,.0f}", f"{found['deliveries_per_s']:,.0f}")
        table.add_row(each.name, *rates, *times, *late, *memory, *busy)
    Console(width=max(Console().width, 160)).print(table)


def goals(phases: list[Phase]) -> list[Goal]:
    """What this is held to: the median of the rounds' ratios, the worst growth."""
    calm = [each for each in phases if each.name == CALM]
    stalled = [each for each in phases if each.name == STALLED]
    ratios = [b.measured["p99"] / a.measured["p99"] for a, b in zip(calm, stalled, strict=True)]
    grown = max(each.node_peak - each.node_before for each in stalled)
    return [
        Goal("p99 of the other subscriptions, one stalled / calm", median(ratios), at_most=SLOWER_AT_MOST),
        Goal("memory of the node, highest - before the stall", grown, at_most=GROWTH_MIB, unit=" MiB"),
    ]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalled", description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--matches", type=int, default=2, help="how many of them an event goes to (%(default)s)")
    parser.add_argument("--rate", type=int, default=2000, help="events a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run, and of the stall (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="pairs of runs, without a stall and with (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "stalled.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    phases = asyncio.run(measure(chosen))
    print_phases(phases)
    reached = goals(phases)
    print_goals(reached)
    results: list[dict[str, Any]] = [each._asdict() for each in phases]
    save(chosen.out, {"machine": machine(), "phases": results, "goals": [goal.to_object() for goal in reached]})


if __name__ == "__main__":
    main()
