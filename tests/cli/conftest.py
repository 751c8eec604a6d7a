"""One embedded node for all tests of the command line, started as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import ROOT, CommandLine
from tests.support.child_process import ChildProcess, clean_environment
from tests.support.ports import free_port


class DevNode:
    """A running ``event-router dev`` at ``url``."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = ChildProcess(
            [sys.executable, "-m", "cli.main", "dev", "--listen", f"127.0.0.1:{port}"],
            log=folder / "node.log",
            env=clean_environment(
                PYTHONPATH=str(ROOT),
                PYTHONUNBUFFERED="1",
                ER_KAFKA_DESTINATIONS='["kafka://127.0.0.1:1/?topics=out.*"]',
            ),
            cwd=folder,
        )

    def ready(self) -> bool:
        """Tell whether GET /readyz answers 200."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stored(self, event_id: str) -> bool:
        """Tell whether the store has an event."""
        try:
            with urllib.request.urlopen(f"{self.url}/v1/events/{event_id}", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False

    def wait_stored(self, event_id: str) -> None:
        """Wait until the store has an event, and so those accepted before it in its partition."""
        self.process.wait_until(lambda: self.stored(event_id), 10, f"event {event_id} is stored")

    def wait_ready(self) -> None:
        """Wait until the node is ready; fails with its output when it is not within 30 s."""
        self.process.wait_until(self.ready, 30, "GET /readyz answers 200")


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevNode]:
    """The session's embedded node; tests keep apart by topics, keys and names of their own."""
    started = DevNode(tmp_path_factory.mktemp("dev-node"))
    try:
        started.wait_ready()
        yield started
    finally:
        started.process.kill()


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """The command line without a node: ER_URL names a port where nothing listens."""
    return CommandLine(tmp_path, ER_URL=f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def er(node: DevNode, tmp_path: Path) -> CommandLine:
    """The command line with ER_URL naming the session's node."""
    return CommandLine(tmp_path, ER_URL=node.url)


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C on a command; returns what it wrote since."""
    os.kill(process.pid, signal.SIGINT)
    return process.communicate(timeout=10)
