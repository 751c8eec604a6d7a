"""What ``benchmarks.matching`` files and asks for: filters and patterns on flights, and what is made to be slow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from router_client.errors import Conflict
from router_node.routing.route import Route
from router_node.routing.route_table import RouteTable

TOPIC = "flights.>"
Object = dict[str, Any]


def filters(count: int, flights: Sequence[Object]) -> list[Object]:
    """Return filters as people write them: on the plane, the flight, the route, and how late or far, six kinds."""
    choose = random.Random(count)
    kinds: list[Callable[[Object, random.Random], Object]] = [
        lambda flight, _: {"payload.tailnum": flight.get("tailnum")},
        lambda flight, _: {"payload.carrier": flight["carrier"], "payload.flight": flight["flight"]},
        lambda flight, any_: {**_route(flight), "payload.dep_delay": {"$gt": any_.randrange(120, 900)}},
        lambda flight, any_: {
            **_route(flight),
            "payload.carrier": flight["carrier"],
            "payload.sched_dep_time": _between(any_.randrange(500, 2300), 20),
            "priority": {"$gte": 5},
        },
        lambda flight, any_: {
            "payload.tailnum": flight.get("tailnum"),
            "payload.distance": _between(any_.randrange(100, 2500), 500),
            "payload.dep_delay": {"$gt": any_.randrange(0, 120, 15)},
        },
        lambda flight, any_: {
            "payload.dest": {"$in": [flight["dest"], "XNA", "SRQ"]},
            "payload.flight": flight["flight"],
            "payload.dep_delay": {"$gte": any_.randrange(0, 120)},
        },
    ]
    return [kinds[number % len(kinds)](choose.choice(flights), choose) for number in range(count)]


def _route(flight: Object) -> Object:
    return {"payload.origin": flight["origin"], "payload.dest": flight["dest"]}


def _between(low: int, width: int) -> Object:
    return {"$gte": low, "$lt": low + width}


def patterns(count: int, topics: Sequence[str]) -> list[str]:
    """Return patterns of eleven shapes, most of which fit none of the topics, and all the topics."""
    kinds = [
        "flights.departed.{}.>", "flights.*.{}.UA", "*.departed.{}.*", "flights.*.*.{}", "{}.>", "flights.{}.*.*",
        "flights.{}.>", "*.*.JFK.{}", "*.{}.>", "flights.departed.*.{}", "flights.departed.EWR.{}",
    ]  # fmt: skip
    made = [kinds[number % len(kinds)].format(number // len(kinds)) for number in range(count - len(topics))]
    return [*topics, *made]


def table_of(specs: Sequence[Object], topic: str = TOPIC) -> RouteTable:
    """Return a table with a route for each filter."""
    table = RouteTable()
    for number, spec in enumerate(specs):
        table.put(Route(f"s{number}", (topic,), spec))
    return table


def hostile(table: RouteTable, events: Sequence[Object]) -> Iterator[tuple[str, str, Object]]:
    """Yield what is chosen to be slow, with the topic and event that meet it, having put into the table what it takes.

    What one case has put stays for those that follow.
    """
    late = next(event for event in events if "dep_delay" in event["payload"])
    payload = late["payload"]
    tails = [f"N{number}" for number in range(10_000)]
    numbers = list(range(-5_000, 5_000))
    yield "10,000 elements where planes are looked up", *_event(late, tailnum=tails)
    yield "10,000 numbers where a range is looked up", *_event(late, dep_delay=numbers)
    everywhere = {name: [*tails, value] if isinstance(value, str) else numbers for name, value in payload.items()}
    yield "10,000 elements everywhere", *_event(late, **everywhere)
    _fill(table, ({f"payload.x{one}": None, f"payload.y{two}": None} for one, two in product(range(20), repeat=2)))
    yield "as many groups as may be, each met", *_event(late)
    for length in range(7):
        for number, tokens in enumerate(product(["flights", "*"], repeat=length)):
            table.put(Route(f"shape {length} {number}", (".".join([*tokens, ">"]),), {}))
    yield "127 shapes of patterns, each met", ".".join(["flights"] * 7), late
    _fill(table, ({"$or": [{"payload.v": {"$mod": [10**6, n + m]}} for m in range(490)]} for n in range(4)))
    _fill(
        table, ({"payload.tailnum": {"$ne": f"x{number}"}, "payload.w": {"$exists": True}} for number in range(2_000))
    )
    yield "all conditions that may be checked one by one", *_event(late, v=3, w=3)
    yield "the same on an array of 1,000 numbers", *_event(late, v=numbers[:1000], w=3)


def _event(event: Object, **changed: Any) -> tuple[str, Object]:
    return "flights.departed.EWR.UA", {**event, "payload": {**event["payload"], **changed}}


def _fill(table: RouteTable, specs: Iterator[Object]) -> None:
    """Put filters until one is refused."""
    for number, spec in enumerate(specs):
        try:
            table.put(Route(f"hostile {number}", (TOPIC,), spec))
        except Conflict:
            return
