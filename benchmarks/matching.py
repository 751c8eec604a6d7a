"""What finding the subscriptions of one event costs: ``python -m benchmarks.matching``.

For each number of subscriptions, in a process of its own: filing their filters under one pattern and finding those that
events of real flights pass; filing as many patterns, and finding those that a topic fits, seen before or not. Then what
subscriptions and events cost that are made to be slow, against the median of usual events.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import orjson
import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from benchmarks.flights import first_events
from benchmarks.matching_parts import Case, Object, filters, hostile, patterns, routes_of, table_of
from benchmarks.report import RESULTS, Goal, machine, print_goals, print_micro, save
from benchmarks.timing import micros_per_call
from router_node.routing.effort import TooCostly
from router_node.routing.filter_language import compile_filter
from router_node.routing.route import Route
from router_node.routing.route_table import RouteTable
from router_node.routing.topic_index import TopicIndex

SIZES = (1_000, 10_000, 100_000, 1_000_000)
EVENTS = 20_000
ASKED = 3_000
TRACED = 100_000
HOSTILE_AT = 100_000
USUAL_BYTES = 1_300
USUAL_US = 47.0
"""What a usual event costs a node in all, µs of CPU; see docs/performance.md."""
ONE_BY_ONE: dict[str, Object] = {
    "filter: one equality": {"payload.origin": "JFK"},
    "filter: over an hour late": {"payload.dep_delay": {"$gt": 60}},
    "filter: three fields": {"payload.origin": "JFK", "payload.distance": {"$gte": 1000}, "priority": {"$lt": 8}},
    "filter: either of two": {"$or": [{"payload.carrier": "UA"}, {"payload.carrier": {"$in": ["DL", "AA"]}}]},
}


class Measured(NamedTuple):
    """What was found with ``count`` subscriptions; times in µs, the means of an event, or of a filing."""

    count: int
    put: float
    bytes_each: float
    match: float
    match_p99: float
    matches: float
    topic_put: float
    topic_new: float
    topic_known: float


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matching", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of subscriptions")
    parser.add_argument("--out", type=Path, default=RESULTS / "matching.json", help="where the results go, as JSON")
    chosen = parser.parse_args()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        measured = [processes.submit(measure, size).result() for size in chosen.sizes]
        usual, slow = processes.submit(measure_hostile).result()
        single = processes.submit(measure_one_by_one).result()
    print_measured(measured)
    print_hostile(usual, slow)
    print_micro("One filter by itself, one event", single)
    goals = [*goals_of(measured), *goals_of_hostile(usual, slow)]
    print_goals(goals)
    results = {
        "sizes": [each._asdict() for each in measured],
        "usual": usual,
        "hostile": [each._asdict() for each in slow],
        "one_by_one": single,
    }
    save(chosen.out, {"machine": machine(), **results, "goals": [goal.to_object() for goal in goals]})


def measure(count: int) -> Measured:
    """Measure with ``count`` subscriptions."""
    events = [orjson.loads(event.encode()) for event in first_events(EVENTS)]
    routes = routes_of(filters(count, [event["payload"] for event in events]))
    gc.collect()
    gc.freeze()  # what the benchmark itself has made is not to be looked through
    before, began = _memory(), time.perf_counter()
    table = table_of(routes)
    put = (time.perf_counter() - began) / count * 1e6
    bytes_each = (_memory() - before) / count if count > TRACED else traced(routes)
    asked = events[:: EVENTS // ASKED]
    matches = sum(len(table.match(event["type"], lambda event=event: event)) for event in asked) / len(asked)  # type: ignore[misc]
    times = [time_of(table, event["type"], event) for event in asked]
    topics = topic_figures(count, sorted({event["type"] for event in events}))
    return Measured(count, put, bytes_each, sum(times) / len(times), quantiles(times, n=100)[98], matches, *topics)


def traced(routes: Sequence[Route]) -> float:
    """Return the bytes that Python allocates for the index of each route."""
    tracemalloc.start()
    began, _ = tracemalloc.get_traced_memory()
    table = table_of(routes)
    held = tracemalloc.get_traced_memory()[0] - began
    tracemalloc.stop()
    del table
    return held / len(routes)


def topic_figures(count: int, topics: Sequence[str]) -> tuple[float, float, float]:
    """Return what filing a pattern costs, a topic that is new, and one that is known."""
    filed = patterns(count, topics)
    index: TopicIndex[int] = TopicIndex()
    began = time.perf_counter()
    for number, pattern in enumerate(filed):
        index.put(pattern, number)
    put = (time.perf_counter() - began) / count * 1e6
    fresh = [f"flights.departed.EWR.{number}" for number in range(50_000)]
    began = time.perf_counter()
    for topic in fresh:
        index.match(topic)
    new = (time.perf_counter() - began) / len(fresh) * 1e6
    return put, new, micros_per_call(index.match, list(topics) * 100)


def time_of(table: RouteTable, topic: str, event: Object) -> float:
    """Return the least µs of three that finding the routes of an event takes, when its topic is known."""
    times = []
    size = len(orjson.dumps(event))
    for _ in range(3):
        began = time.perf_counter()
        with suppress(TooCostly):
            table.match(topic, lambda: event, size)
        times.append(time.perf_counter() - began)
    return min(times) * 1e6


class Slow(NamedTuple):
    """What something chosen to be slow took: the event's bytes, µs to match it, how much longer than usual.

    ``to_median`` is matching it to the median of usual events; ``to_size`` is decoding and matching it to that of an
    event as large in which no filter looks at what is large. ``undecided`` are subscriptions that it was too much for.
    """

    name: str
    size: int
    micros: float
    to_median: float
    to_size: float
    undecided: int


def measure_hostile() -> tuple[float, list[Slow]]:
    """Return the µs of usual events, the median, and what each case that is made to be slow took."""
    events = [orjson.loads(event.encode()) for event in first_events(EVENTS)]
    table = table_of(routes_of(filters(HOSTILE_AT, [event["payload"] for event in events])))
    usual = median(time_of(table, event["type"], event) for event in events[:: EVENTS // ASKED])
    return usual, [slow_one(table, case, usual) for case in hostile(table, events)]


def slow_one(table: RouteTable, case: Case, usual: float) -> Slow:
    """Measure one case."""
    body, innocent = orjson.dumps(case.event), orjson.dumps(case.innocent)
    micros, undecided = time_of(table, case.topic, case.event), 0
    to_size = (micros + micros_per_call(orjson.loads, [body])) / (
        time_of(table, case.topic, case.innocent) + micros_per_call(orjson.loads, [innocent])
    )
    try:
        table.match(case.topic, lambda: case.event, len(body))
    except TooCostly as cost:
        undecided = len({route.name for route in cost.undecided} - {route.name for route in cost.found})
    return Slow(case.name, len(body), micros, micros / usual, to_size, undecided)


def print_hostile(usual: float, slow: Sequence[Slow]) -> None:
    """Print a row for each case."""
    table = Table(
        title=f"{HOSTILE_AT:,} filters and what is chosen to be slow, one event; the usual median {usual:.1f} µs"
    )
    for heading in ("case", "bytes", "µs", "x the median", "x one of its size", "undecided"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for each in slow:
        shown = f"{each.micros:,.0f}", f"{each.to_median:,.1f}", f"{each.to_size:,.1f}"
        table.add_row(each.name, f"{each.size:,}", *shown, f"{each.undecided:,}")
    Console(width=max(Console().width, 130)).print(table)


def measure_one_by_one() -> dict[str, float]:
    """Return the µs of filters that are tried by themselves."""
    events = [orjson.loads(event.encode()) for event in first_events(ASKED)]
    return {name: micros_per_call(compile_filter(spec).matches, events) for name, spec in ONE_BY_ONE.items()}


def print_measured(measured: Sequence[Measured]) -> None:
    """Print a row for each number of subscriptions."""
    table = Table(title="One event, µs (filters: all under one pattern, six kinds; patterns: twelve shapes)")
    for heading in (
        "subscriptions", "file a filter", "bytes each", "find by filter", "p99", "found",
        "file a pattern", "topic, new", "topic, known",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for each in measured:
        table.add_row(f"{each.count:,}", *(f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in each[1:]))
    Console(width=max(Console().width, 130)).print(table)


def goals_of(measured: Sequence[Measured]) -> list[Goal]:
    """Return the goals that the sizes measured can tell of."""
    at: dict[int, Any] = {each.count: each for each in measured}
    goals = []
    if 100_000 in at:
        goals += [
            Goal("a new topic among 100,000 patterns", at[100_000].topic_new, at_most=5, unit=" µs"),
            Goal("a known topic among 100,000 patterns", at[100_000].topic_known, at_most=0.3, unit=" µs"),
            Goal("an event among 100,000 filters", at[100_000].match, at_most=80, unit=" µs"),
            Goal("filing 100,000 filters", at[100_000].put / 10, at_most=2, unit=" s"),
            Goal("a filter's part of the index", at[100_000].bytes_each, at_most=600, unit=" bytes"),
        ]
    if {100_000, 1_000_000} <= at.keys():
        ratio = at[1_000_000].match / at[100_000].match
        goals.append(Goal("1,000,000 filters / 100,000 filters", ratio, at_most=3))
    return goals


def goals_of_hostile(usual: float, slow: Sequence[Slow]) -> list[Goal]:
    """Return the goals for what is chosen to be slow: of events of usual size, and of all."""
    small = max(each.micros for each in slow if each.size < USUAL_BYTES)
    whole = (USUAL_US + small - usual) / USUAL_US
    return [
        Goal("the slowest event of usual size / the median, all that a node does", whole, at_most=10),
        Goal(
            "the slowest event / one of its size, decoded and matched", max(each.to_size for each in slow), at_most=10
        ),
    ]


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
