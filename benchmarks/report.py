"""Tables, ratios and the JSON file of the benchmarks."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

RESULTS = Path("build") / "benchmarks"


class Run(NamedTuple):
    """One system, once: ``events`` events in ``seconds``, and the CPU seconds of each process."""

    system: str
    events: int
    seconds: float
    cpu_s: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


class Target(NamedTuple):
    """What one system is to reach of another; a goal that is not ``due`` is printed and does not fail the run."""

    system: str
    against: str
    at_least: float
    due: bool


class Goal(NamedTuple):
    """A figure with the bound it is to keep; printed, and never a reason to fail: machines differ."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool:
        """The bound is kept."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def to_object(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        return {**self._asdict(), "reached": self.reached}


def print_goals(goals: Sequence[Goal]) -> None:
    """Print each goal with its figure and whether it is reached."""
    for goal in goals:
        bound = f"at least {goal.at_least:g}" if goal.at_least is not None else f"at most {goal.at_most:g}"
        verdict = "reached" if goal.reached else "not yet"
        Console().print(f"{goal.what}: {goal.value:.2f}{goal.unit} (goal {bound}{goal.unit}: {verdict})")


def machine() -> dict[str, Any]:
    """Say what was measured on, and when (UTC)."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _processor() -> str:
    named = Path("/proc/cpuinfo")
    lines = named.read_text().splitlines() if named.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def rate_of(runs: Sequence[Run], system: str) -> float:
    """Return the median rate of a system, in events per second."""
    return median(run.rate for run in runs if run.system == system)


def cpu_of(runs: Sequence[Run], system: str) -> dict[str, float]:
    """Return the median CPU seconds per 1,000 events of each process of a system."""
    ours = [run for run in runs if run.system == system]
    return {name: median(1000 * run.cpu_s[name] / run.events for run in ours) for name in ours[0].cpu_s}


def print_runs(runs: Sequence[Run], targets: Sequence[Target], title: str = "End to end, medians") -> bool:
    """Print the medians and the ratios; return whether every target that is due is met."""
    systems = list(dict.fromkeys(run.system for run in runs))
    parts = list(dict.fromkeys(name for run in runs for name in run.cpu_s))
    table = Table(title=title, caption="on the right: CPU seconds per 1,000 events of each process")
    for heading in ("system", "events/s", "lowest", "highest", "runs", *parts, "all"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for system in systems:
        rates = [run.rate for run in runs if run.system == system]
        cpu = cpu_of(runs, system)
        cells = (f"{cpu[part]:.3f}" if part in cpu else "" for part in parts)
        summary = (f"{median(rates):,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", str(len(rates)))
        table.add_row(system, *summary, *cells, f"{sum(cpu.values()):.3f}")
    console = Console(width=max(Console().width, 130))
    console.print(table)
    met = True
    for target in targets:
        if target.system in systems and target.against in systems:
            met &= _print_target(console, runs, target)
    return met


def _print_target(console: Console, runs: Sequence[Run], target: Target) -> bool:
    ratio = rate_of(runs, target.system) / rate_of(runs, target.against)
    reached = ratio >= target.at_least
    verdict = "reached" if reached else "MISSED" if target.due else "not yet"
    console.print(f"{target.system} / {target.against}: {ratio:.2f} (goal {target.at_least:g}: {verdict})")
    return reached or not target.due


def print_micro(title: str, micros: Mapping[str, float]) -> None:
    """Print a table of microseconds per operation."""
    table = Table("operation", "µs", title=title)
    table.columns[1].justify = "right"
    for name, value in micros.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)


def save(out: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, making the folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
