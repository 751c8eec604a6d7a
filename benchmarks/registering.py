"""What a subscription costs while nothing happens to it: ``python -m benchmarks.registering``.

Durable subscriptions are registered as a node does when it starts: each from the JSON text that the store has of it,
with one or two topics and a filter of two or three conditions, everything else the default. With filters and without,
for the compiled filters and the index they are in are most of it. Bytes are what tracemalloc counts of Python's
objects, in a pass of its own, as counting takes time.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.flights import endless_events
from benchmarks.report import RESULTS, Goal, machine, print_goals, save
from benchmarks.timing import micros_per_call
from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.clock import SystemClock
from router_node.cluster.ownership import SoleOwner
from router_node.delivery.lane import Lane
from router_node.delivery.window import Window
from router_node.flow.deliver import Dispatch
from router_node.log.port import Entry, PartitionState
from router_node.routing.registry import Registry

SECONDS, KIB = 10.0, 1.5
AWAKE = 1_000


class NoStages:
    """The stages around a dispatch, for one to which nothing happens; see Upkeep."""

    def release(self, entry: Entry) -> None: ...

    def make_durable(self, lane: Lane, window: Window) -> None: ...

    def fetch(self, lane: Lane, window: Window) -> None: ...

    def soon(self, pump: Callable[[], None]) -> None: ...


class Cost(NamedTuple):
    """What registering took in all, and each subscription in bytes."""

    seconds: float
    bytes_each: float


def texts(count: int, *, filtered: bool) -> list[bytes]:
    """Return what a store has of ``count`` subscriptions, each of somebody who follows an aeroplane, or a route."""
    events = islice(endless_events(), count)
    specs = (_spec(number, event, filtered=filtered) for number, event in enumerate(events))
    return [bytes(memoryview(orjson.dumps(spec.to_object()))) for spec in specs]


def _spec(number: int, event: Event, *, filtered: bool) -> SubscriptionSpec:
    flight, (_, _, origin, carrier) = event.payload, event.type.split(".")
    topics = [[f"flights.*.{origin}.{carrier}"], [f"flights.{kind}.{origin}.>" for kind in ("departed", "cancelled")]]
    filters: list[dict[str, Any]] = [
        {"correlation_id": event.correlation_id, "priority": {"$lt": 8}},
        {"payload.dest": flight["dest"], "payload.carrier": carrier, "payload.dep_delay": {"$gt": number % 240}},
    ]
    body = {"topics": topics[number % 2], "filter": filters[number // 2 % 2] if filtered else {}}
    return SubscriptionSpec.from_object(f"follower-{number:07}", body)


def new_registry() -> Registry:
    """Return a registry whose dispatches have no stages around them."""
    clock, stages, right = SystemClock(), NoStages(), SoleOwner()
    return Registry(lambda spec: Dispatch(spec, stages, clock, right, lambda: None), clock)


def register(stored: Sequence[bytes]) -> Registry:
    """Register subscriptions from their texts."""
    registry = new_registry()
    for text in stored:
        body = orjson.loads(text)
        registry.put(SubscriptionSpec.from_object(body["name"], body))
    return registry


def cost(stored: Sequence[bytes]) -> tuple[Cost, Registry]:
    """Measure registering, twice: once for the time and once for the memory."""
    began = time.perf_counter()
    register(stored)
    seconds = time.perf_counter() - began
    used, registry = grown(lambda: register(stored))
    return Cost(seconds, used / len(stored)), registry


def grown(make: Callable[[], Any]) -> tuple[int, Any]:
    """Return how many bytes of objects there are more after ``make``, and what it returned."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used, made


def rounds(registry: Registry) -> dict[str, float]:
    """Return the microseconds of what a node does again and again with all its subscriptions asleep."""

    def tick(now: float) -> None:
        for dispatch in registry:
            dispatch.tick(now)
        registry.settle_down(now)

    def hand_over(partition: int) -> None:
        registry.resume(partition, PartitionState())
        registry.freeze(partition)
        registry.lose(partition)

    return {
        "a tick, all asleep": micros_per_call(tick, [0.0] * 100),
        "a partition taken up and handed over, all asleep": micros_per_call(hand_over, list(range(100))),
    }


def waking(registry: Registry) -> dict[str, float]:
    """Return what it takes to wake one, in microseconds, and what one that is awake takes, in bytes."""
    names = [spec.name for spec in islice(registry.specs(), 2 * AWAKE)]
    used, _ = grown(lambda: [registry.get(name) for name in names[:AWAKE]])
    began = time.perf_counter()
    for name in names[AWAKE:]:
        registry.get(name)
    return {"µs": (time.perf_counter() - began) / AWAKE * 1e6, "bytes": used / AWAKE}


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "registering.json")
    chosen = parser.parse_args()

    plain, _ = cost(texts(chosen.count, filtered=False))
    filtered, registry = cost(texts(chosen.count, filtered=True))
    micros, awake = rounds(registry), waking(registry)

    table = Table("subscriptions", "seconds", "µs each", "bytes each", title=f"Registering {chosen.count:,}")
    for name, each in (("without filters", plain), ("with filters", filtered)):
        table.add_row(
            name, f"{each.seconds:.2f}", f"{each.seconds / chosen.count * 1e6:.1f}", f"{each.bytes_each:,.0f}"
        )
    console = Console()
    console.print(table)
    for what, value in micros.items():
        console.print(f"{what}: {value:.1f} µs")
    console.print(f"waking one: {awake['µs']:.0f} µs; one that is awake and idle: {awake['bytes']:,.0f} bytes more")
    goals = [
        Goal(f"registering {chosen.count:,}, with filters", filtered.seconds, at_most=SECONDS, unit=" s"),
        Goal("memory of each, with its filter", filtered.bytes_each / 1024, at_most=KIB, unit=" KiB"),
        Goal("memory of each, without a filter", plain.bytes_each / 1024, at_most=KIB, unit=" KiB"),
    ]
    print_goals(goals)
    result = {
        "machine": machine(),
        "count": chosen.count,
        "without_filters": plain._asdict(),
        "with_filters": filtered._asdict(),
        "micros": micros,
        "waking": awake,
        "goals": [goal.to_object() for goal in goals],
    }
    save(chosen.out, result)


if __name__ == "__main__":
    main()
