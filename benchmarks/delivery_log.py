"""What the delivery log costs: the router end to end with every attempt logged, with failures logged, and without.

As ``benchmarks.end_to_end``, with a new database for each run; rounds alternate the settings. Every event is
acknowledged at its first attempt, so ``all`` writes one row for each and ``failures`` none.
"""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from pathlib import Path

from benchmarks.end_to_end import measure
from benchmarks.report import RESULTS, Target, print_runs, save
from benchmarks.systems import System, run_event_router

OFF, FAILURES, ALL = "off", "failures", "all"
TARGETS = (Target(FAILURES, OFF, 0.97, due=False), Target(ALL, OFF, 0.9, due=False))


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery_log", description=__doc__)
    parser.add_argument("--events", type=int, default=60_000, help="events of a run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each setting (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "delivery_log.json", help="JSON file (%(default)s)")
    chosen = parser.parse_args()
    systems = [
        System(setting, chosen.events, partial(run_event_router, name=setting, ER_DELIVERY_LOG=setting))
        for setting in (OFF, FAILURES, ALL)
    ]
    runs = asyncio.run(measure(systems, chosen.rounds))
    print_runs(runs, TARGETS)
    save(chosen.out, {"runs": [{**run._asdict(), "events_per_s": run.rate} for run in runs]})


if __name__ == "__main__":
    main()
