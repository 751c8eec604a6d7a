"""The seed of a run, printed at its beginning, and the figures its tests measured, printed at its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.seed import SEED

Note = Callable[[str, object], None]


@pytest.fixture
def seed() -> int:
    """What all choices of a run come from: ER_TEST_SEED, else a new one."""
    print(f"ER_TEST_SEED={SEED}")
    return SEED


@pytest.fixture
def note(record_property: Note) -> Note:
    """Takes a figure that the test measured, with its name, for the summary."""
    return record_property


def pytest_report_header() -> str:
    """Name the seed before anything runs."""
    return f"chaos: ER_TEST_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and the seed."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    measured = [report for report in reports if report.user_properties and "chaos" in report.nodeid]
    if not measured:
        return
    terminalreporter.section(f"chaos, ER_TEST_SEED={SEED}")
    for report in measured:
        terminalreporter.line(f"{report.nodeid.rpartition('::')[2]} ({report.duration:.1f} s)")
        for name, value in report.user_properties:
            terminalreporter.line(f"    {name}: {value}")
