"""What checking, encoding and decoding one event costs: ``python -m benchmarks.codec``."""

from __future__ import annotations

import orjson

from benchmarks.flights import first_events
from benchmarks.report import print_micro
from benchmarks.timing import micros_per_call
from router_client.event import Event, decode, from_object, new_id

COUNT = 5_000


def main() -> None:
    """Measure and print."""
    events = first_events(COUNT)
    bodies = [event.encode() for event in events]
    objects = [orjson.loads(body) for body in bodies]
    print_micro(
        f"One event of {sum(map(len, bodies)) // COUNT} bytes",
        {
            "from_object: check a stranger's object": micros_per_call(from_object, objects),
            "encode: to JSON bytes": micros_per_call(Event.encode, events),
            "decode: our own bytes to an Event": micros_per_call(decode, bodies),
            "orjson.loads: our own bytes to a dict": micros_per_call(orjson.loads, bodies),
            "new_id: a UUIDv7": micros_per_call(lambda _: new_id(), events),
        },
    )


if __name__ == "__main__":
    main()
