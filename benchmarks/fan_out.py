"""One event to many: 1, 10 and 100 durable subscriptions, and a thousand WebSocket connections with one each.

One node with PostgreSQL; every subscription gets and acknowledges every event. First events are published alone, the
next when everybody has the last; then as many as make about the same number of deliveries, as fast as it goes.
Publisher and consumers are one process. The thousand are ephemeral, as a dashboard's would be.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cpu import CpuMeter
from benchmarks.fan_out_parts import DURABLE, EPHEMERAL
from benchmarks.report import RESULTS, machine, save
from benchmarks.role import role
from benchmarks.systems import RUN_WITHIN_S, Servers
from tests.support.node_process import NodeProcess
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer


class Shape(NamedTuple):
    """Who listens, and how many events make the second phase."""

    subscriptions: int
    connections: int
    kind: str
    events: int


SHAPES = (
    Shape(1, 1, DURABLE, 30_000),
    Shape(10, 10, DURABLE, 10_000),
    Shape(100, 10, DURABLE, 2_000),
    Shape(1_000, 1_000, EPHEMERAL, 200),
)


class Measured(NamedTuple):
    """Milliseconds from the publish of an event alone until everybody had it; and the second phase."""

    shape: Shape
    p50: float
    p99: float
    took_s: float
    cpu_s: dict[str, float]

    @property
    def deliveries(self) -> int:
        """Deliveries of the second phase."""
        return self.shape.events * self.shape.subscriptions

    def to_object(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        rates = {"events_per_s": self.shape.events / self.took_s, "deliveries_per_s": self.deliveries / self.took_s}
        return {**self._asdict(), "shape": self.shape._asdict(), **rates}


async def run(servers: Servers, shape: Shape, alone: int) -> Measured:
    """Measure one shape, with a new node and database."""
    url = await servers.database()
    async with NodeProcess(redis_url=servers.redis.url, database_url=url) as node:
        arguments = {**shape._asdict(), "alone": alone, "url": node.url.replace("http://", "ws://")}
        words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        async with role("clients", "benchmarks.fan_out_parts", *words) as clients:
            clients.begin()
            first = await clients.result(RUN_WITHIN_S)
            meter = CpuMeter({"node": node.process.pid, "clients": clients.pid, **servers.pids()})
            clients.begin()
            second = await clients.result(RUN_WITHIN_S)
            return Measured(shape, first["p50"], first["p99"], second["took_s"], meter.spent())


async def measure(alone: int) -> list[Measured]:
    """Measure every shape."""
    measured: list[Measured] = []
    with RedisServer().start(appendonly=False) as redis_server, PostgresServer(durable=True) as postgres_server:
        servers = Servers(redis_server, postgres_server)
        for shape in SHAPES:
            measured.append(await run(servers, shape, alone))
            sys.stderr.write(f"{shape.subscriptions} {shape.kind}: {measured[-1].took_s:.2f} s\n")
    return measured


def print_measured(measured: list[Measured]) -> None:
    """Print a row for each shape."""
    caption = "an event alone: until the last has it; on the right: CPU seconds per 1,000 deliveries"
    table = Table(title="Fan-out", caption=caption)
    parts = list(measured[0].cpu_s)
    headings = ("subscriptions", "connections", "kind", "alone p50 ms", "p99 ms", "events/s", "deliveries/s", *parts)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for each in measured:
        shape = (f"{each.shape.subscriptions:,}", f"{each.shape.connections:,}", each.shape.kind)
        rates = (f"{each.shape.events / each.took_s:,.0f}", f"{each.deliveries / each.took_s:,.0f}")
        cpu = (f"{1000 * each.cpu_s[part] / each.deliveries:.3f}" for part in parts)
        table.add_row(*shape, f"{each.p50:.1f}", f"{each.p99:.1f}", *rates, *cpu)
    Console(width=max(Console().width, 130)).print(table)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fan_out", description=__doc__)
    parser.add_argument("--alone", type=int, default=100, help="events published one after another (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "fan_out.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    measured = asyncio.run(measure(chosen.alone))
    print_measured(measured)
    save(chosen.out, {"machine": machine(), "measured": [each.to_object() for each in measured]})


if __name__ == "__main__":
    main()
