"""The real day of flights: made from the package as committed, true to its rows, and routed by the demo."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path

import orjson
import pytest

from examples.flights.build import (
    NEW_YORK,
    events_of_day,
    events_of_row,
    events_of_year,
    rows_of,
    scheduled_arrival,
    scheduled_departure,
    write,
)
from examples.flights.demo import read_events
from examples.flights.subscribers import PLANS, expected_counts
from tests.architecture.sources import ROOT

DAY = date(2013, 7, 10)
FILE = ROOT / "examples" / "flights" / f"{DAY}.jsonl"
DEMO_WITHIN_S = 60


def test_the_committed_day_is_what_the_package_says(tmp_path: Path) -> None:
    built = tmp_path / "day.jsonl"
    assert write(events_of_day(DAY), built) == len(FILE.read_bytes().splitlines())
    assert built.read_bytes() == FILE.read_bytes()


def test_the_committed_day_passes_the_border() -> None:
    events = read_events(FILE)
    assert len({event.id for event in events}) == len(events)
    assert all(earlier.timestamp <= later.timestamp for earlier, later in pairwise(events))


def test_a_day_has_an_event_for_all_that_happened() -> None:
    rows = rows_of(DAY)
    cancelled = sum("dep_time" not in row for row in rows)
    arrived = sum("arr_delay" in row for row in rows)
    kinds = Counter(event.type.split(".")[1] for event in events_of_day(DAY))
    assert kinds == {
        "scheduled": len(rows),
        "cancelled": cancelled,
        "departed": len(rows) - cancelled,
        "arrived": arrived,
    }
    assert cancelled == 121


@pytest.mark.parametrize("day", [DAY, date(2013, 1, 15), date(2013, 3, 10), date(2013, 11, 3)])
def test_times_agree_with_the_clocks_in_the_data(day: date) -> None:
    for row in rows_of(day):
        leaves = scheduled_departure(row)
        # The package's own UTC hour of departure says the same as New York's clocks, also when these change.
        assert leaves == datetime.fromisoformat(row["time_hour"]) + timedelta(minutes=row["minute"])
        if "dep_time" in row:
            departed = (leaves + timedelta(minutes=row["dep_delay"])).astimezone(NEW_YORK)
            assert departed.hour * 100 + departed.minute == row["dep_time"] % 2400
        if "arr_delay" in row:
            in_the_air = scheduled_arrival(row, leaves) - leaves + timedelta(minutes=row["arr_delay"])
            on_the_ground = in_the_air - timedelta(minutes=row["dep_delay"] + row["air_time"])
            assert timedelta() < on_the_ground < timedelta(hours=4), row


def test_a_flight_over_midnight_arrives_the_next_day() -> None:
    (event,) = (event for event in events_of_day(DAY) if event.id == "2013-07-10-DL2363-JFK-arrived")
    # It left at 2:19 on the 11th, 319 minutes late, and reached Los Angeles at 5:06 on the clocks there.
    assert event.timestamp == datetime(2013, 7, 11, 12, 6, tzinfo=UTC)
    assert event.payload["arr_time"] == 506


def test_events_know_only_what_has_happened_by_then() -> None:
    row = next(row for row in rows_of(DAY) if row.get("dep_delay", 0) > 60 and "arr_delay" in row)
    scheduled, departed, arrived = events_of_row(row)
    assert "dep_time" not in scheduled.payload
    assert "arr_time" not in departed.payload
    assert arrived.payload == row
    assert [event.priority for event in (scheduled, departed, arrived)] == [5, 7, 5]
    assert {event.correlation_id for event in (scheduled, departed, arrived)} == {row["tailnum"]}


def test_a_cancelled_flight_without_an_aircraft_has_a_key_of_its_own() -> None:
    row = next(row for row in rows_of(DAY) if "tailnum" not in row)
    scheduled, cancelled = events_of_row(row)
    assert scheduled.correlation_id == f"unknown-{row['carrier']}{row['flight']}"
    assert (cancelled.priority, cancelled.type) == (8, f"flights.cancelled.{row['origin']}.{row['carrier']}")
    assert cancelled.timestamp == scheduled_departure(row)


def test_the_year_goes_on_over_midnight_in_order() -> None:
    events = list(islice(events_of_year(), 9_000))
    assert all(earlier.timestamp <= later.timestamp for earlier, later in pairwise(events))
    assert {event.payload["day"] for event in events} >= {1, 2, 3}
    assert len({event.id for event in events}) == len(events)


def test_what_the_demo_expects_holds_against_the_rows() -> None:
    events = read_events(FILE)
    audit, board, late, billing = (expected_counts(plan, events) for plan in PLANS)
    rows = rows_of(DAY)
    assert audit.events == len(events)
    assert board.events == sum("dep_time" in row for row in rows)
    assert late.events == sum(row.get("dep_delay", 0) > 60 for row in rows)
    assert billing.events == 121
    assert 0 < billing.dead < billing.events
    assert billing.delivered == 2 * billing.acked + 3 * billing.dead


async def test_the_demo_runs_and_its_numbers_agree() -> None:
    status, output = await _demo("--json")
    report = orjson.loads(output)
    assert status == 0, output
    assert report["ok"] is True
    assert all(check["found"] == check["expected"] for check in report["checks"].values())
    assert report["checks"]["published"]["found"] == len(read_events(FILE))
    assert report["checks"]["billing: letters"]["found"] > 0
    assert report["seconds"] < 30


async def test_the_demo_says_which_numbers_differ(tmp_path: Path) -> None:
    # Twice the same id is routed once, so fewer are published than the file has lines.
    line = FILE.read_bytes().splitlines()[0]
    twice = tmp_path / "twice.jsonl"
    twice.write_bytes(line + b"\n" + line + b"\n")
    status, output = await _demo("--within", "1", "--file", str(twice))
    assert status == 1
    assert "published: 1, but the file says 2" in output


async def _demo(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.flights.demo", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), DEMO_WITHIN_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()
