"""Shifts a process's wall clock, time.time and time.time_ns, by ER_TEST_CLOCK_SHIFT_S seconds; monotonic clocks stay.

Python imports this by itself when its folder is on PYTHONPATH.
"""

from __future__ import annotations

import os
import time

_SHIFT_S = int(os.environ.get("ER_TEST_CLOCK_SHIFT_S", "0"))
_time, _time_ns = time.time, time.time_ns


def _shifted() -> float:
    return _time() + _SHIFT_S


def _shifted_ns() -> int:
    return _time_ns() + _SHIFT_S * 1_000_000_000


time.time, time.time_ns = _shifted, _shifted_ns
