"""What finding the subscriptions of one event costs: ``python -m benchmarks.matching``."""

from __future__ import annotations

from typing import Any

import orjson

from benchmarks.flights import first_events
from benchmarks.report import print_micro
from benchmarks.timing import micros_per_call
from router_node.routing.filter_language import compile_filter
from router_node.routing.topic_index import TopicIndex

COUNT = 5_000
PATTERNS = 1_000
FILTERS: dict[str, dict[str, Any]] = {
    "filter: one equality": {"payload.origin": "JFK"},
    "filter: over an hour late": {"payload.dep_delay": {"$gt": 60}},
    "filter: three fields": {"payload.origin": "JFK", "payload.distance": {"$gte": 1000}, "priority": {"$lt": 8}},
    "filter: either of two": {"$or": [{"payload.carrier": "UA"}, {"payload.carrier": {"$in": ["DL", "AA"]}}]},
}


def patterns(topics: list[str]) -> list[str]:
    """Return PATTERNS patterns, of three shapes and exact, most of which fit none of the topics."""
    return [f"flights.departed.{n}.>" if n % 2 else f"flights.*.{n}.UA" for n in range(PATTERNS - len(topics))] + topics


def main() -> None:
    """Measure and print."""
    objects = [orjson.loads(event.encode()) for event in first_events(COUNT)]
    topics = [event["type"] for event in objects]
    filed = patterns(sorted(set(topics)))
    remembering: TopicIndex[int] = TopicIndex()
    for number, pattern in enumerate(filed):
        remembering.add(pattern, number)
    micros = {f"topic, seen before, {PATTERNS:,} patterns": micros_per_call(remembering.match, topics)}
    fresh = [f"flights.departed.{number}.XX" for number in range(20_000, 20_000 + COUNT)]
    micros[f"topic, new, {PATTERNS:,} patterns"] = _first_time(filed, fresh)
    for name, spec in FILTERS.items():
        micros[name] = micros_per_call(compile_filter(spec).matches, objects)
    print_micro("One event", micros)


def _first_time(filed: list[str], topics: list[str]) -> float:
    index: TopicIndex[int] = TopicIndex()
    for number, pattern in enumerate(filed):
        index.add(pattern, number)

    def match_anew(topic: str) -> object:
        index.remove("no.such.pattern", -1)  # any change makes the index forget what it remembers
        return index.match(topic)

    return micros_per_call(match_anew, topics[:100])


if __name__ == "__main__":
    main()
