from __future__ import annotations

from typing import Any

from router_client.event import Event
from router_client.spec import SubscriptionSpec
from router_node.flow.match import RouterEngine
from router_node.log.port import Entry, Position
from router_node.routing.filter_language import compile_filter
from router_node.routing.route import Route
from router_node.routing.route_table import Document, RouteTable


class Got:
    """A subscription that notes what it is offered."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.positions: list[Position] = []

    def offer(self, entry: Entry, position: Position, body: bytes, correlation_id: str) -> None:
        self.bodies.append(body)
        self.positions.append(position)


class Bench:
    def __init__(self, *global_filters: dict[str, Any]) -> None:
        self.table = RouteTable()
        self.by_name: dict[str, Route] = {}
        self.stored: list[bytes] = []
        self.unreadable: list[str] = []
        self.undecided: list[list[str]] = []
        self.released: list[Entry] = []
        self.engine = RouterEngine(
            self.find,
            [compile_filter(spec, effort=self.table.effort) for spec in global_filters],
            lambda entry, position, event, body: self.stored.append(body),
            lambda entry, position, body, error: self.unreadable.append(error),
            lambda entry, position, body, head, cost: self.undecided.append([each.name for each in cost.undecided]),
            self.released.append,
        )

    def subscribe(self, spec: SubscriptionSpec) -> Got:
        got = Got()
        route = self.by_name[spec.name] = Route(spec.name, spec.topics, spec.filter)
        route.receiver = got
        self.table.put(route)
        return got

    def find(self, topic: str, document: Document, target: str | None = None, size: int = 0) -> list[Route]:
        if target is None:
            return self.table.match(topic, document, size)
        there = [route for route in self.by_name.values() if route.name == target]
        return [route for route in there if self.table.takes(route, topic, document, size)]

    def route(self, *events: Event | bytes) -> list[bytes]:
        bodies = [event.encode() if isinstance(event, Event) else event for event in events]
        self.engine.route(Entry(0, 5, b"1-1", Position(7, 10), 1_000, bodies))
        return bodies


def test_each_subscription_gets_an_event_once_however_many_of_its_patterns_match() -> None:
    bench = Bench()
    got = bench.subscribe(SubscriptionSpec(name="s", topics=("orders.*", "orders.>", "orders.created", ">")))

    bodies = bench.route(Event(type="orders.created"), Event(type="orders.created.late"))

    assert got.bodies == bodies
    assert got.positions == [Position(7, 10), Position(7, 11)]
    assert bench.stored == bodies


def test_topic_and_filter_must_both_hold() -> None:
    bench = Bench()
    got = bench.subscribe(SubscriptionSpec(name="s", topics=("a.*",), filter={"payload.n": {"$gt": 1}}))

    bodies = bench.route(
        Event(type="a.b", payload={"n": 2}), Event(type="a.b", payload={"n": 1}), Event(type="b.b", payload={"n": 2})
    )

    assert got.bodies == bodies[:1]


def test_a_target_limits_delivery_to_the_subscription_of_that_name() -> None:
    bench = Bench()
    one, two = (bench.subscribe(SubscriptionSpec(name=name, topics=("a.>",))) for name in ("one", "two"))

    bodies = bench.route(Event(type="a.b", target="two"), Event(type="a.b", target="nobody"))

    assert one.bodies == []
    assert two.bodies == bodies[:1]
    assert bench.stored == bodies
    assert bench.engine.targets_missed == 1


def test_the_filter_and_topics_of_a_target_still_hold() -> None:
    bench = Bench()
    got = bench.subscribe(SubscriptionSpec(name="s", topics=("b", "a.*"), filter={"payload.n": 1}))

    bodies = bench.route(
        Event(type="a.b", target="s", payload={"n": 1}),
        Event(type="a.b", target="s", payload={"n": 2}),
        Event(type="c", target="s", payload={"n": 1}),
    )

    assert got.bodies == bodies[:1]
    assert bench.engine.targets_missed == 2
    assert bench.engine.goes_to("s", {"type": "b", "payload": {"n": 1}})
    assert not bench.engine.goes_to("s", {"type": "b", "payload": {"n": 2}})
    assert not bench.engine.goes_to("t", {"type": "b", "payload": {"n": 1}})
    assert not bench.engine.goes_to("s", {"type": "b", "target": "t", "payload": {"n": 1}})


def test_what_a_global_filter_stops_is_stored_and_routed_to_nobody() -> None:
    bench = Bench({"metadata.environment": {"$ne": "test"}}, {"source": {"$exists": True}})
    got = bench.subscribe(SubscriptionSpec(name="s", topics=(">",)))

    bodies = bench.route(Event(type="a.b", metadata={"environment": "test"}), Event(type="a.b"))

    assert got.bodies == bodies[1:]
    assert bench.stored == bodies
    assert bench.engine.filtered_globally == 1


def test_what_takes_too_long_to_match_goes_where_it_is_decided_and_is_told_for_the_rest() -> None:
    bench = Bench({"source": {"$ne": "test"}})
    plain = bench.subscribe(SubscriptionSpec(name="plain", topics=(">",)))
    slow = {"$or": [{"payload.v": {"$mod": [10**6, number]}} for number in range(50)]}
    left = bench.subscribe(SubscriptionSpec(name="slow", topics=("a.*",), filter=slow))
    numbers = list(range(1000, 3000))

    bodies = bench.route(
        Event(type="a.b", payload={"v": numbers}),
        Event(type="a.b", payload={"v": numbers}, source="test"),
        Event(type="a.b", payload={"v": 7}),
    )

    assert bench.undecided == [["slow"]]
    assert bench.engine.too_costly == bench.engine.filtered_globally == 1
    assert (plain.bodies, left.bodies) == ([bodies[0], bodies[2]], [bodies[2]])
    assert len(bench.released) == 1
    assert not bench.engine.goes_to("slow", {"type": "a.b", "payload": {"v": numbers * 100}})


def test_what_is_no_event_is_set_aside_and_the_rest_of_its_batch_goes_on() -> None:
    bench = Bench()
    got = bench.subscribe(SubscriptionSpec(name="s", topics=(">",)))

    bodies = bench.route(b"\xff", b'{"type":"a.b"}', b"[]", Event(type="a.b"))

    assert len(bench.unreadable) == 3
    assert got.bodies == bodies[3:]
    assert len(bench.released) == 1
