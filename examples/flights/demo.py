"""A real day of flights through a router inside this process, every number checked: ``make demo``.

It publishes the day to an embedded router (memory log, SQLite file), lets four durable subscriptions take their part,
and compares what was stored, routed, delivered, retried and dead-lettered with what the file alone says it must be.
Ends with 1 and the lines that disagree when anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.flights.subscribers import PLANS, Subscriber
from router_client.event import Event, from_object
from router_node.contract import Engine, Management, Published
from router_node.node import Node, embedded
from stores.ports import EventQuery, LetterFilter

DAY = Path(__file__).with_name("2013-07-10.jsonl")
BATCH = 100
PAGE = 1000
WITHIN_S = 25.0


class Check(NamedTuple):
    """One number of the report and what it must be."""

    name: str
    found: int
    expected: int

    @property
    def agrees(self) -> bool:
        """Whether they are equal."""
        return self.found == self.expected


@dataclass(slots=True)
class Report:
    """What the demo found."""

    seconds: float = 0.0
    events: int = 0
    within_s: float = WITHIN_S
    checks: list[Check] = field(default_factory=list)
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether all agreed, in time."""
        return not self.timed_out and all(check.agrees for check in self.checks)

    def check(self, name: str, found: int, expected: int) -> None:
        """Add a number."""
        self.checks.append(Check(name, found, expected))

    def to_object(self) -> dict[str, Any]:
        """Return the report for ``--json``."""
        return {
            "ok": self.ok,
            "timed_out": self.timed_out,
            "seconds": round(self.seconds, 3),
            "events_per_s": round(self.events / self.seconds),
            "checks": {check.name: {"found": check.found, "expected": check.expected} for check in self.checks},
        }


def read_events(path: Path) -> list[Event]:
    """Read a file of JSON lines as the router would: checked."""
    return [from_object(orjson.loads(line)) for line in path.read_bytes().splitlines()]


async def run(events: Sequence[Event], folder: Path, progress: Progress, within_s: float) -> Report:
    """Send ``events`` through an embedded router that stores in ``folder``."""
    report = Report(events=len(events), within_s=within_s)
    bars = {plan.spec.name: progress.add_task(plan.spec.name, total=None) for plan in PLANS}
    publishing = progress.add_task("published", total=len(events))
    subscribers = [
        Subscriber(plan, events, lambda done, bar=bars[plan.spec.name]: progress.update(bar, completed=done))  # type: ignore[misc]
        for plan in PLANS
    ]
    async with embedded(f"sqlite:///{folder / 'demo.sqlite'}") as node:
        for subscriber in subscribers:
            progress.update(bars[subscriber.plan.spec.name], total=subscriber.expected.events)
            await subscriber.open(node.engine)
        began = time.monotonic()
        accepted = 0
        try:
            async with asyncio.timeout(within_s):
                async for more in _publish(node.engine, events):
                    accepted += more
                    progress.update(publishing, completed=accepted)
                await _all_done(node, subscribers)
        except TimeoutError:
            report.timed_out = True
        report.seconds = time.monotonic() - began
        report.check("published", accepted, len(events))
        _check_router(report, node, subscribers)
        for subscriber in subscribers:
            _check_subscriber(report, subscriber)
        await _check_stored(report, node.management, events, subscribers)
    return report


async def _publish(engine: Engine, events: Sequence[Event]) -> AsyncIterator[int]:
    for start in range(0, len(events), BATCH):
        results = await engine.publish_events(events[start : start + BATCH])
        yield sum(isinstance(result, Published) and not result.duplicate for result in results)


async def _all_done(node: Node, subscribers: Sequence[Subscriber]) -> None:
    # The one that takes everything is done when all is routed; the store was handed each event before it was.
    for subscriber in subscribers:
        await subscriber.finished.wait()
    await node.pipeline.persister.idle()
    await node.pipeline.settler.quiet()


def _check_router(report: Report, node: Node, subscribers: Sequence[Subscriber]) -> None:
    router = node.pipeline.router
    report.check("routed", router.routed, report.events)
    report.check("matched", router.matched, sum(subscriber.expected.events for subscriber in subscribers))


def _check_subscriber(report: Report, subscriber: Subscriber) -> None:
    name = subscriber.plan.spec.name
    expected = asdict(subscriber.expected)
    for what, found in asdict(subscriber.counts()).items():
        report.check(f"{name}: {what}", found, expected[what])
    report.check(f"{name}: in order", subscriber.keys() - subscriber.keys_out_of_order(), subscriber.keys())


async def _check_stored(
    report: Report, management: Management, events: Sequence[Event], subscribers: Sequence[Subscriber]
) -> None:
    """Read back from SQLite what was stored, byte by byte, and the dead letters."""
    sent = {event.id: event.encode() for event in events}
    stored: dict[str, bytes] = {}
    cursor: str | None = None
    while True:
        page = await management.events(EventQuery(limit=PAGE, cursor=cursor))
        stored.update((event.id, event.body) for event in page.events)
        cursor = page.next
        if cursor is None:
            break
    report.check("stored", sum(stored.get(event_id) == body for event_id, body in sent.items()), len(sent))
    for subscriber in subscribers:
        name = subscriber.plan.spec.name
        letters = await management.letters.page(LetterFilter(subscription=name), PAGE, None)
        report.check(f"{name}: letters", len(letters.letters), subscriber.expected.dead)


def print_report(report: Report, console: Console) -> None:
    """Print what was found; a number that disagrees shows what it should be."""
    router = _table("A day of flights: the router")
    subscriptions = _table("Its subscriptions")
    subscriptions.add_column("name")
    rows: dict[str, list[str]] = defaultdict(list)
    cells: list[str] = []
    for check in report.checks:
        cell = f"[green]{check.found:,}[/]" if check.agrees else f"[red]{check.found:,}, not {check.expected:,}[/]"
        name, colon, what = check.name.partition(": ")
        if not colon:
            router.add_column(name, justify="right")
            cells.append(cell)
            continue
        if what not in [column.header for column in subscriptions.columns]:
            subscriptions.add_column(what, justify="right")
        rows[name].append(cell)
    router.add_row(*cells)
    for name, found in rows.items():
        subscriptions.add_row(name, *found)
    console.print(router, subscriptions)
    console.print("in order: aircraft (and priorities) whose events came one after the other,")
    console.print("as published; letters: the dead letters, read back from SQLite\n")
    console.print(f"{report.events:,} events in {report.seconds:.2f} s, {report.events / report.seconds:,.0f} events/s")
    for check in report.checks:
        if not check.agrees:
            console.print(f"[red]{check.name}: {check.found}, but the file says {check.expected}[/]")
    if report.timed_out:
        console.print(f"[red]not done within {report.within_s:g} s[/]")
    if report.ok:
        console.print("Every number is what the file alone says it must be.")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="python -m examples.flights.demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--file", type=Path, default=DAY, help="JSON lines of events (%(default)s)")
    parser.add_argument("--within", type=float, default=WITHIN_S, help="seconds to wait at most (%(default)g)")
    chosen = parser.parse_args()
    console = Console()
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars_on = console.is_terminal and not chosen.json
    with (
        tempfile.TemporaryDirectory(prefix="event-router-demo-") as folder,
        Progress(*columns, console=console, transient=True, disable=not bars_on) as progress,
    ):
        report = asyncio.run(run(read_events(chosen.file), Path(folder), progress, chosen.within))
    if chosen.json:
        sys.stdout.write(orjson.dumps(report.to_object(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print_report(report, console)
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
