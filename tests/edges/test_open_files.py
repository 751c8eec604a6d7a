"""What the system allows of open files is what a node may have of connections."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("soft", "hard", "most", "allowed", "afterwards"),
    [(1024, 20_000, 12_000, 12_000, 12_256), (1024, 4096, 12_000, 3840, 4096), (5000, 5000, 100, 100, 5000)],
)
def test_as_many_as_there_may_be(soft: int, hard: int, most: int, allowed: int, afterwards: int) -> None:
    # In a process of its own, as a limit that is lowered cannot be raised again.
    program = (
        "import resource; from router_node.edges.open_files import sockets_allowed\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"print(sockets_allowed({most}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == [str(allowed), str(afterwards)]
