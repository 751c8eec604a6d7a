"""CPU time of processes, their children included."""

from __future__ import annotations

from collections.abc import Mapping

import psutil  # type: ignore[import-untyped]


class CpuMeter:
    """Measures from its making to ``spent`` what each named process and all below it used."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._before = self._now()

    def spent(self) -> dict[str, float]:
        """Return CPU seconds by name."""
        now = self._now()
        return {name: now[name] - before for name, before in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: _tree(process) for name, process in self._processes.items()}


def _tree(process: psutil.Process) -> float:
    # What the root counts for its children is that of dead ones: PostgreSQL's backends come and go.
    total = float(sum(process.cpu_times()[:4]))
    for child in process.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total
