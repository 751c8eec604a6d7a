"""What a node takes that does nothing: memory of a subscription and of a connection, and the time it takes to start.

Memory is the growth of the node's resident memory over thousands of them, divided by their number. A subscription is
durable, with a topic and a filter of its own, and has no consumer. Starting is timed from the process to ``/readyz``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import aiohttp
from rich.console import Console
from rich.table import Table

from benchmarks.memory import Rss
from benchmarks.report import RESULTS, machine, save
from benchmarks.role import role
from benchmarks.systems import Servers
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

KIB = 1024
AT_ONCE, WARM = 32, 100
SETTLES_S = 2.0


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    value: float
    unit: str


async def subscriptions(node: NodeProcess, count: int) -> list[Figure]:
    """Register subscriptions over HTTP; returns what one takes, and how many a second."""
    async with aiohttp.ClientSession(node.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await _register(session, range(WARM))
        rss = Rss(node.process.pid)
        began = time.monotonic()
        await _register(session, range(WARM, WARM + count))
        took_s = time.monotonic() - began
    await asyncio.sleep(SETTLES_S)
    return [
        Figure("an idle subscription", (rss.now() - rss.before) * KIB / count, "KiB"),
        Figure("registering over HTTP, 32 at once", count / took_s, "a second"),
    ]


async def _register(session: aiohttp.ClientSession, numbers: range) -> None:
    left = iter(numbers)

    async def put() -> None:
        for number in left:
            body = {"topics": [f"flights.*.JFK.C{number}"], "filter": {"payload.tailnum": f"N{number}"}}
            async with session.put(f"/v1/subscriptions/idle-{number}", json=body) as answer:
                answer.raise_for_status()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(put())


async def connections(node: NodeProcess, count: int, what: str, *extra: str) -> list[Figure]:
    """Open idle connections; returns what one takes of the node."""
    url = f"{node.url.replace('http://', 'ws://')}/v1/ws"
    async with role("warm", "benchmarks.idle_connections", "--url", url, "--count", str(WARM), *extra):
        pass
    rss = Rss(node.process.pid)
    async with role("idle", "benchmarks.idle_connections", "--url", url, "--count", str(count), *extra):
        await asyncio.sleep(SETTLES_S)
        return [Figure(what, (rss.now() - rss.before) * KIB / count, "KiB")]


async def starting(servers: Servers, starts: int) -> list[Figure]:
    """Start nodes: each on an empty Redis and database, and once more right after it stopped."""
    first: list[float] = []
    again: list[float] = []
    for _ in range(starts):
        url = await servers.database()
        for took_s in (first, again):
            node = NodeProcess(redis_url=servers.redis.url, database_url=url)
            began = time.monotonic()
            async with node:
                took_s.append(time.monotonic() - began)
                await node.terminate()
    return [
        Figure("starting, Redis and database empty", median(first), "s"),
        Figure("starting again at once", median(again), "s"),
    ]


async def measure(chosen: argparse.Namespace) -> list[Figure]:
    """Measure everything, each part with a new node."""
    figures: list[Figure] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        parts: list[Callable[[NodeProcess], Awaitable[list[Figure]]]] = [
            idle_node,
            lambda node: subscriptions(node, chosen.subscriptions),
            lambda node: connections(node, chosen.connections, "an idle WebSocket connection"),
            lambda node: connections(node, chosen.connections, "the same, with a subscription", "--subscribe"),
        ]
        figures += await starting(servers, chosen.starts)
        for part in parts:
            url = await servers.database()
            async with NodeProcess(redis_url=servers.redis.url, database_url=url) as node:
                figures += await part(node)
                sys.stderr.write(f"{figures[-1].what}: {figures[-1].value:.2f} {figures[-1].unit}\n")
    return figures


async def idle_node(node: NodeProcess) -> list[Figure]:
    """Return what a node takes that was just started."""
    await asyncio.sleep(SETTLES_S)
    return [Figure("a node without anything", Rss(node.process.pid).now(), "MiB")]


def print_figures(figures: list[Figure]) -> None:
    """Print a line for each."""
    table = Table("what", "", "", title="Footprint")
    table.columns[1].justify = "right"
    for figure in figures:
        table.add_row(figure.what, f"{figure.value:,.2f}", figure.unit)
    Console().print(table)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=2_000, help="idle ones (%(default)s)")
    parser.add_argument("--connections", type=int, default=2_000, help="idle ones (%(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="of each kind (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "footprint.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    figures = asyncio.run(measure(chosen))
    print_figures(figures)
    save(chosen.out, {"machine": machine(), "figures": [figure._asdict() for figure in figures]})


if __name__ == "__main__":
    main()
