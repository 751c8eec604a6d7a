"""What an append costs, by how many events go together: ``python -m benchmarks.append``.

One node appends flights to the 64 partitions it owns, one group after the other, as its group commit does: with ids
that the publisher chose, which are looked up and remembered, and without. Beside it one plain XADD an event, in
pipelines of the same size, to as many streams, through the same connections: no numbers, no deduplication, no bound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import redis
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.cpu import CpuMeter
from benchmarks.flights import first_events
from benchmarks.report import RESULTS, machine, save
from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases
from partitioning.redis_connect import connect
from partitioning.slots import slot_of, slot_table
from router_client.appending.records import NewRecord
from router_node.log.port import Begun
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_streams import STREAM_SCRIPTS, RedisStreams
from tests.support.redis_server import RedisServer

PARTITIONS, BACKLOG = 64, 100_000_000
GROUPS = (1, 64, 1_000)

Append = Callable[[Sequence[NewRecord]], Awaitable[None]]


class Figure(NamedTuple):
    """One way of appending, in groups of one size: events a second, and µs of CPU an event."""

    what: str
    group: int
    events_per_s: float
    client_us: float
    redis_us: float


def records(count: int, *, chosen_ids: bool) -> list[NewRecord]:
    """Return flights as the publish stage hands them to the log."""
    owners = slot_table(PARTITIONS).owners
    found = []
    for event in first_events(count):
        slot = slot_of(event.correlation_id)
        dedup_id = event.id if chosen_ids else None
        found.append(NewRecord(owners[slot], event.priority, dedup_id, event.encode(), slot, PARTITIONS))
    return found


@asynccontextmanager
async def ways(url: str) -> AsyncIterator[dict[str, Append]]:
    """Yield the ways of appending, on a Redis that is empty."""
    commands = connect(url, [*STREAM_SCRIPTS, *LEASE_SCRIPTS])
    try:
        keys = Keys("bench")
        tokens = await Leases(commands, keys, "bench", 600_000).acquire(range(PARTITIONS))
        streams = RedisStreams(RedisCalls(commands), keys, tokens, backlog_limit=BACKLOG)
        for partition in range(PARTITIONS):
            begun = await streams.begin(partition)
            if not isinstance(begun, Begun) or await streams.open(partition, begun.generation) is not None:
                raise AssertionError(f"partition {partition} is not ours")

        async def append(group: Sequence[NewRecord]) -> None:
            if any(await streams.append(group)):
                raise AssertionError("some were not appended")

        async def plain(group: Sequence[NewRecord]) -> None:
            replies = await commands.run([("XADD", f"plain:{each.partition}", "*", "e", each.body) for each in group])
            if not all(isinstance(reply, bytes) for reply in replies):
                raise AssertionError("some were not appended")

        yield {"append, ids chosen": append, "append, ids made": append, "plain XADD": plain}
    finally:
        await commands.close()


async def one_round(server: RedisServer, count: int) -> list[Figure]:
    """Measure each way with each size of group, each on a Redis that is empty."""
    figures = []
    for group in GROUPS:
        events = count if group > 1 else count // 10
        for what in ("append, ids chosen", "append, ids made", "plain XADD"):
            with redis.Redis.from_url(server.url, socket_timeout=10) as connection:
                connection.flushall()
            todo = records(events, chosen_ids=what == "append, ids chosen")
            async with ways(server.url) as by_name:
                meter = CpuMeter({"redis": server.process.pid})
                began, own = time.perf_counter(), time.process_time()
                for start in range(0, events, group):
                    await by_name[what](todo[start : start + group])
                seconds, own = time.perf_counter() - began, time.process_time() - own
            micros = 1e6 / events
            figures.append(Figure(what, group, events / seconds, own * micros, meter.spent()["redis"] * micros))
    return figures


async def measure(rounds: int, count: int) -> list[Figure]:
    """Return the median of each figure over the rounds."""
    with RedisServer().start(appendonly=False) as server:
        found = [await one_round(server, count) for _ in range(rounds)]
    return [
        Figure(same[0].what, same[0].group, *(median(each[n] for each in same) for n in (2, 3, 4)))
        for same in zip(*found, strict=True)
    ]


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.append", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="for each way; a tenth one by one (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "append.json")
    chosen = parser.parse_args()
    figures = uvloop.run(measure(chosen.rounds, chosen.events))
    table = Table("events together", "how", "events/s", "CPU: client, µs", "Redis, µs", title="Appending, medians")
    for column in table.columns[2:]:
        column.justify = "right"
    for each in figures:
        cells = (f"{each.events_per_s:,.0f}", f"{each.client_us:.1f}", f"{each.redis_us:.1f}")
        table.add_row(f"{each.group:,}", each.what, *cells)
    Console().print(table)
    said = {"machine": machine(), "events": chosen.events, "rounds": chosen.rounds}
    save(chosen.out, {**said, "figures": [figure._asdict() for figure in figures]})


if __name__ == "__main__":
    main()
