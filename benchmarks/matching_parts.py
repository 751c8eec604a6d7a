"""What ``benchmarks.matching`` files and asks for: filters and patterns on flights, and what is made to be slow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

import orjson

from router_client.errors import Conflict
from router_client.event import MAX_EVENT_BYTES
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


def routes_of(specs: Sequence[Object]) -> list[Route]:
    """Return a route for each filter, all with one pattern."""
    topics = (TOPIC,)
    return [Route(f"s{number}", topics, spec) for number, spec in enumerate(specs)]


def table_of(routes: Sequence[Route]) -> RouteTable:
    """Return a table of routes."""
    table = RouteTable()
    for route in routes:
        table.put(route)
    return table


def hostile(table: RouteTable, events: Sequence[Object]) -> Iterator[tuple[str, str, Object]]:
    """Yield what is chosen to be slow, with the topic and event that meet it; the table has what it takes meanwhile.

    Events are no larger than events may be.
    """
    late = next(event for event in events if "dep_delay" in event["payload"])
    topic, payload = late["type"], late["payload"]
    tails, numbers = [f"N{number}" for number in range(10_000)], list(range(-5_000, 5_000))
    yield "10,000 elements where planes are looked up", topic, _with(late, tailnum=tails)
    yield "10,000 numbers where a range is looked up", topic, _with(late, dep_delay=numbers)
    short = {str: [*tails[:1500]], int: numbers[4000:5500]}
    everywhere = {name: [*short[type(value)], value] for name, value in payload.items()}
    yield "1,500 elements everywhere", topic, _with(late, **everywhere)
    groups = ({f"payload.x{one}": None, f"payload.y{two}": None, "id": 1} for one, two in product(range(20), repeat=2))
    with _filled(table, groups):
        yield "as many kinds of filters as are told apart", topic, late
    shapes = [".".join([*tokens, ">"]) for length in range(7) for tokens in product(["flights", "*"], repeat=length)]
    routes = [Route(f"shape {pattern}", (pattern,), {}) for pattern in shapes]
    for route in routes:
        table.put(route)
    yield "127 shapes of patterns, all of which fit", ".".join(["flights"] * 7), late
    for route in routes:
        table.remove(route)
    with _filled(table, ({"payload.v": {"$mod": [10**6, number]}} for number in range(10_000))):
        yield "as many conditions as may be checked", topic, _with(late, v=10**7 - 1)
        yield "the same, with an array of 100 numbers", topic, _with(late, v=[10**7 - 1] * 100)
    with _filled(table, ({"$or": [{"payload.v": {"$mod": [10**6, n + m]}} for m in range(490)]} for n in range(9))):
        yield "the same as long $or", topic, _with(late, v=10**7 - 1)
    slow = ({"payload.v": {"$regex": f"(a|b|ab)*(a|b)*{number}$"}} for number in range(10_000))
    with _filled(table, slow):
        yield "the same as expressions that backtrack elsewhere, 100 characters", topic, _with(late, v="ab" * 50)


def _with(event: Object, **changed: Any) -> Object:
    event = {**event, "payload": {**event["payload"], **changed}}
    assert len(orjson.dumps(event)) <= MAX_EVENT_BYTES
    return event


@contextmanager
def _filled(table: RouteTable, specs: Iterable[Object]) -> Iterator[None]:
    """Put filters until one is refused, and take them out in the end."""
    routes: list[Route] = []
    with suppress(Conflict):
        for number, spec in enumerate(specs):
            route = Route(f"hostile {number}", (TOPIC,), spec)
            table.put(route)
            routes.append(route)
    yield
    for route in routes:
        table.remove(route)
