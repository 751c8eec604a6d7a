from __future__ import annotations

import subprocess
import sys
import time

from tests.chaos.cluster_site import clock_off_by
from tests.support.child_process import clean_environment

SHOW = "import time; print(time.time(), time.time_ns(), time.monotonic())"


def test_only_the_wall_clock_is_shifted() -> None:
    environment = clean_environment(**clock_off_by(-300))
    wall_s, wall_ns, monotonic_s = map(
        float, subprocess.check_output([sys.executable, "-c", SHOW], env=environment, text=True, timeout=30).split()
    )

    assert -330 < wall_s - time.time() < -299
    assert -330 < wall_ns / 1e9 - time.time() < -299
    assert abs(monotonic_s - time.monotonic()) < 30
