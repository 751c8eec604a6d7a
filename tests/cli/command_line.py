"""`event-router` as a user starts it: a process of its own, with pipes or a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.support.child_process import clean_environment

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 30


class Result(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """The lines of stdout, each read as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Runs commands with the environment of a user who set ``variables`` and works in ``folder``."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.environment = clean_environment(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", **variables)
        # What the terminal of whoever runs the tests is like is none of their business.
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
            self.environment.pop(name, None)

    def __call__(self, *arguments: str | Path, stdin: str = "", code: int | None = 0, **variables: str) -> Result:
        """Run a command to its end; fails unless it ends with ``code`` (None: any), in time and without a traceback."""
        done = subprocess.run(
            self._argv(arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={**self.environment, **variables},
            cwd=self.folder,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Result(done.returncode, done.stdout, done.stderr)

    def start(
        self, *arguments: str | Path, stderr: int | IO[str] = subprocess.PIPE, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a command that lives on, with all three streams as pipes unless ``stderr`` is a file."""
        return subprocess.Popen(
            self._argv(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**self.environment, **variables},
            cwd=self.folder,
            preexec_fn=_heed_interrupts,
        )

    def on_terminal(self, *arguments: str | Path, **variables: str) -> Result:
        """Run a command whose stdout and stderr are one terminal; everything it wrote is in ``out``."""
        ours, theirs = pty.openpty()
        environment = {**self.environment, "TERM": "xterm-256color", **variables}
        with subprocess.Popen(
            self._argv(arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=self.folder
        ) as process:
            os.close(theirs)
            written = _read_all(ours)
            code = process.wait(TIMEOUT_S)
        return Result(code, written, "")

    def _argv(self, arguments: tuple[str | Path, ...]) -> list[str]:
        return [sys.executable, "-m", "cli.main", *map(str, arguments)]


def _heed_interrupts() -> None:
    """Undo what a shell does to jobs in its background: there SIGINT is ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read_all(terminal: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            part = b""  # Linux answers EIO when the other side of a terminal is closed.
        if not part:
            os.close(terminal)
            return b"".join(parts).decode()
        parts.append(part)
