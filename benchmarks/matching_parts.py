"""What ``benchmarks.matching`` files and asks for: filters and patterns on flights, and what is made to be slow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product, repeat
from typing import Any, NamedTuple

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


class Case(NamedTuple):
    """Something chosen to be slow: an event, and another as large that has the same where no filter looks."""

    name: str
    topic: str
    event: Object
    innocent: Object


def hostile(table: RouteTable, events: Sequence[Object]) -> Iterator[Case]:
    """Yield what is chosen to be slow; the table has what it takes meanwhile."""
    late = next(event for event in events if "dep_delay" in event["payload"])
    yield from _hostile_arrays(late)
    yield from _hostile_kinds(table, late)
    for name, specs, values in _hostile_conditions():
        with _filled(table, specs):
            for what, value in values.items():
                yield _case(f"{name}, {what}", late, v=value)


def _hostile_arrays(late: Object) -> Iterator[Case]:
    tails, numbers = [f"N{number}" for number in range(10_000)], list(range(-5_000, 5_000))
    yield _case("where planes are looked up, 10,000 texts", late, tailnum=tails)
    yield _case("where a range is looked up, 10,000 numbers", late, dep_delay=numbers)
    short = {str: [*tails[:1500]], int: numbers[4000:5500]}
    everywhere = {name: [*short[type(value)], value] for name, value in late["payload"].items()}
    yield _case("everywhere, 1,500 elements", late, **everywhere)


def _hostile_kinds(table: RouteTable, late: Object) -> Iterator[Case]:
    groups = ({f"payload.x{one}": None, f"payload.y{two}": None, "id": 1} for one, two in product(range(20), repeat=2))
    with _filled(table, groups):
        yield _case("as many kinds of filters as are told apart", late)
    shapes = [".".join([*tokens, ">"]) for length in range(7) for tokens in product(["flights", "*"], repeat=length)]
    with _filled(table, ({"payload.flight": -1, "payload.dest": "XXX"} for _ in shapes), shapes):
        yield _case("127 kinds of patterns, all of which fit", late)._replace(topic=".".join(["flights"] * 7))
    with _filled(table, ({f"payload.{'a.' * n}v": {"$mod": [10**6, n]}} for n in range(300))):
        deep: Object = {}
        for _ in range(100):
            deep = {"a": deep}
        yield _case("paths of up to 300 steps, 100 levels", late, **deep)


def _hostile_conditions() -> Iterator[tuple[str, Iterable[Object], dict[str, Any]]]:
    """Yield conditions to fill a table with, and values that are slow with them."""
    numbers, items = list(range(10**6, 10**6 + 10_000)), [{"sku": f"S{n}", "quantity": n} for n in range(3_000)]
    ab = "".join(random.Random(1).choices("ab", k=100_000))
    many = range(10_000)
    arrays: dict[str, Any] = {"a number": 10**7 - 1, "100 numbers": numbers[:100], "10,000 numbers": numbers}
    yield "$mod", ({"payload.v": {"$mod": [10**6, -n]}} for n in many), arrays
    yield "$or of 140", ({"$or": [{"payload.v": {"$mod": [10**6, -n - m]}} for m in range(140)]} for n in many), arrays
    yield "31 levels of $nor", (_nested({"payload.v": {"$mod": [10**6, -n]}}, 31) for n in many), arrays
    yield "$ne", ({"payload.v": {"$ne": n, "$size": n}} for n in many), arrays
    yield "$nin of 1,000", ({"payload.v": {"$nin": list(range(n, n + 1000)), "$size": n}} for n in many), arrays
    yield "$not $gt", ({"payload.v": {"$not": {"$gt": 10**8 + n}, "$size": n}} for n in many), arrays
    yield "$size", ({"payload.v": {"$size": n}} for n in many), arrays
    yield "$all of 1,000", ({"payload.v": {"$all": [*range(999), n]}} for n in many), arrays
    objects = {"3,000 objects": items}
    yield "$elemMatch", ({"payload.v": {"$elemMatch": {"sku": "x", "quantity": n}}} for n in many), objects
    yield "members of objects", ({"payload.v.quantity": {"$mod": [10**6, -n]}} for n in many), objects
    yield "an object", ({"payload.v": {"sku": "S1", "quantity": -n}} for n in many), objects
    texts = {
        "100 characters": ab[:100],
        "100,000 characters": ab,
        "5,000 texts": [ab[n : n + 12] for n in range(5_000)],
    }
    yield "(a+)+$", ({"payload.v": {"$regex": f"^(a+)+{n}$"}} for n in many), {"aaa": "a" * 50_000, **texts}
    yield "(a|b|ab)*(a|b)*", ({"payload.v": {"$regex": f"(a|b|ab)*(a|b)*{n}$"}} for n in many), texts
    yield "a[ab]{14}c, RE2's worst", ({"payload.v": {"$regex": f"a[ab]{{14}}c{n}"}} for n in many), texts
    yield "a[ab]{300}c", ({"payload.v": {"$regex": f"a[ab]{{300}}c{n}"}} for n in many), texts
    yield "$prefix", ({"payload.v": {"$prefix": f"{ab[:100]}{n}"}} for n in many), texts
    yield (
        "$cidr",
        ({"payload.v": {"$cidr": f"10.{n % 256}.{n // 256}.0/24"}} for n in many),
        {"5,000 addresses": [f"9.9.{n % 256}.{n // 256}" for n in range(5_000)]},
    )


def _nested(spec: Object, levels: int) -> Object:
    for _ in range(levels - 2):
        spec = {"$nor": [spec]}
    return spec


def _case(name: str, event: Object, **changed: Any) -> Case:
    hostile, innocent = ({**event, "payload": {**event["payload"], **more}} for more in (changed, _aside(changed)))
    assert len(orjson.dumps(hostile)) <= MAX_EVENT_BYTES
    return Case(name, event["type"], hostile, innocent)


def _aside(changed: Object) -> Object:
    return {f"unasked_{name}": value for name, value in changed.items()}


@contextmanager
def _filled(table: RouteTable, specs: Iterable[Object], topics: Iterable[str] = repeat(TOPIC)) -> Iterator[None]:
    """Put filters until one is refused, and take them out in the end."""
    routes: list[Route] = []
    with suppress(Conflict):
        for number, (topic, spec) in enumerate(zip(topics, specs, strict=False)):
            route = Route(f"hostile {number}", (topic,), spec)
            table.put(route)
            routes.append(route)
    yield
    for route in routes:
        table.remove(route)
