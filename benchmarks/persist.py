"""How fast each store takes events and attempts: ``python -m benchmarks.persist``.

One writer, one batch after the other, as a node's persist stage does it; PostgreSQL with its usual fsync. Beside them
the loop's table: the same events by COPY into a table that has nothing but its primary key.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks.flights import first_events
from benchmarks.handwritten import COLUMNS, TABLE
from benchmarks.report import RESULTS, machine, save
from stores.open import open_database
from stores.ports import Attempt, Database, LoggedAttempt, StoredEvent
from tests.support.postgres_server import PostgresServer

FIRST_US = 1_767_225_600_000_000
LARGE, SMALL = 1_000, 100

T = TypeVar("T")
Write = Callable[[Sequence[T]], Awaitable[object]]


class Figure(NamedTuple):
    """What one way of writing reached in one round."""

    what: str
    rows_per_s: float


def stored_events(count: int) -> list[StoredEvent]:
    """Return flights as the persist stage hands them to a store."""
    return [
        StoredEvent(
            FIRST_US + number,
            event.id,
            event.type,
            event.source,
            event.correlation_id,
            event.priority,
            event.encode(),
        )
        for number, event in enumerate(first_events(count))
    ]


def attempts(events: Sequence[StoredEvent]) -> list[LoggedAttempt]:
    """Return an attempt that was acknowledged for each event."""
    return [
        LoggedAttempt("node-1", Attempt(event.accepted_at_us, event.id, "late", number % 64, 1, "acked", False, 1.5))
        for number, event in enumerate(events)
    ]


async def rate(rows: Sequence[T], size: int, write: Write[T]) -> float:
    """Write ``rows`` in batches of ``size``; returns rows a second."""
    began = time.perf_counter()
    for start in range(0, len(rows), size):
        await write(rows[start : start + size])
    return len(rows) / (time.perf_counter() - began)


async def of_store(name: str, database: Database, events: Sequence[StoredEvent]) -> list[Figure]:
    """Measure a store that is empty."""
    await database.migrate()
    half = len(events) // 2
    fresh, few = events[:half], events[half:]
    return [
        Figure(f"{name}: events, {LARGE:,} a batch", await rate(fresh, LARGE, database.events.save)),
        Figure(f"{name}: events, {SMALL} a batch", await rate(few, SMALL, database.events.save)),
        Figure(f"{name}: events that are there already", await rate(fresh, LARGE, database.events.save)),
        Figure(f"{name}: attempts, {LARGE:,} a batch", await rate(attempts(fresh), LARGE, database.delivery_log.save)),
    ]


async def of_plain_table(url: str, events: Sequence[StoredEvent]) -> Figure:
    """Measure what the loop written by hand does."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(TABLE)

        async def write(batch: Sequence[StoredEvent]) -> None:
            rows = [(e.id, e.type, e.correlation_id, e.priority, None, e.body) for e in batch]
            await connection.copy_records_to_table("loop_events", records=rows, columns=COLUMNS)

        return Figure(f"the loop's table: events, {LARGE:,} a batch", await rate(events, LARGE, write))
    finally:
        await connection.close(timeout=10)


async def one_round(server: PostgresServer, events: Sequence[StoredEvent]) -> list[Figure]:
    """Measure each store once, both empty at first."""
    url = await server.create_database()
    figures = [await of_plain_table(url, events)]
    with TemporaryDirectory() as folder:
        for name, where in (("PostgreSQL", url), ("SQLite", f"sqlite:///{folder}/events.sqlite")):
            database = await open_database(where)
            try:
                figures += await of_store(name, database, events)
            finally:
                await database.close()
    return figures


async def measure(rounds: int, count: int) -> list[Figure]:
    """Return the median of each figure over the rounds."""
    events = stored_events(count)
    with PostgresServer(durable=True) as server:
        found = [await one_round(server, events) for _ in range(rounds)]
    return [Figure(each[0].what, median(figure.rows_per_s for figure in each)) for each in zip(*found, strict=True)]


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.persist", description=__doc__)
    parser.add_argument("--events", type=int, default=40_000, help="for each store and round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "persist.json")
    chosen = parser.parse_args()
    figures = asyncio.run(measure(chosen.rounds, chosen.events))
    table = Table("what is written", "rows/s", "µs a row", title="Writing to the stores, medians")
    table.columns[1].justify = table.columns[2].justify = "right"
    for figure in figures:
        table.add_row(figure.what, f"{figure.rows_per_s:,.0f}", f"{1e6 / figure.rows_per_s:.1f}")
    Console().print(table)
    said = {"machine": machine(), "events": chosen.events, "rounds": chosen.rounds}
    save(chosen.out, {**said, "figures": [figure._asdict() for figure in figures]})


if __name__ == "__main__":
    main()
