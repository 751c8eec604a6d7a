"""What the benchmarks send: real events, all with ids of their own and the keys that reality gave them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

from examples.flights.build import events_of_year
from router_client.event import Event


def first_events(count: int) -> list[Event]:
    """Return the first events of 2013 (there are a million); raises ValueError for more than there are."""
    events = list(islice(events_of_year(), count))
    if len(events) < count:
        raise ValueError(f"2013 has only {len(events)} events")
    return events


def endless_events() -> Iterator[Event]:
    """Yield the events of 2013, and then the same again and again with ids of their own."""
    for year in count():
        for event in events_of_year():
            yield replace(event, id=f"{event.id}-again-{year}") if year else event


def with_priorities(events: list[Event]) -> list[Event]:
    """Return the events with all ten priorities in turn."""
    return [replace(event, priority=number % 10) for number, event in enumerate(events)]
