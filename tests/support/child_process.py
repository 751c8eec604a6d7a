"""A child process that cannot outlive the test session, is signalled by pid and keeps its output."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

_POLL_S = 0.005
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

# Linux ties "die with your parent" to the thread that forked, so one thread that lives as long as the interpreter
# starts every child; a server started from a worker thread would die with that thread.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessFailed(RuntimeError):
    """A child process ended or did not do in time what was expected; the message shows the end of its output."""


class ServerMissing(RuntimeError):
    """This machine has no binary to run a test server from; tests fail then, they never skip."""


class Account(NamedTuple):
    """The user and group a child runs as."""

    uid: int
    gid: int


class ChildProcess:
    """A running command together with the processes it starts. The constructor starts it; ``log`` gets its output.

    Methods act on the whole tree and block for at most the few milliseconds that signals take, ``terminate`` and
    ``wait_until`` for their timeout.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> None:
        self.argv = [str(part) for part in argv]
        self.log = log

        def spawn() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    # Ctrl-C is for pytest, which then stops its servers in order.
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )

        self._popen = _SPAWNER.submit(spawn).result()
        _living.add(self)

    @property
    def pid(self) -> int:
        """Process id of the command itself."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status, minus the signal number when a signal ended it, None while it runs."""
        return self._popen.poll()

    def pause(self) -> None:
        """Stop the whole tree where it stands (SIGSTOP); sockets stay open and nothing answers."""
        root = self._root()
        root.suspend()
        # Only a root that has really stopped forks no more, so that no child is missed.
        self.wait_until(lambda: root.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}, 5, "stop")
        for child in root.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.suspend()

    def resume(self) -> None:
        """Let a paused tree go on (SIGCONT)."""
        root = self._root()
        for process in [*root.children(recursive=True), root]:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def kill(self) -> None:
        """End the whole tree at once (SIGKILL) and wait until it is gone. Killing a dead one is allowed."""
        if self.exit_code is None:
            # Paused, the tree cannot grow between listing and killing it.
            self.pause()
            children = self._root().children(recursive=True)
            self._popen.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self._popen.wait(timeout=5)
            _wait_gone(children, timeout_s=5)
        _living.discard(self)

    def terminate(self, with_signal: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0) -> int:
        """Ask the command to end and return its exit code.

        Raises ProcessFailed when it does not end in time; it is killed then.
        """
        if self.exit_code is None:
            self._popen.send_signal(with_signal)
            with suppress(psutil.NoSuchProcess):
                self.resume()
        try:
            code = self._popen.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessFailed(self._story(f"did not end within {timeout_s:g} s of {with_signal.name}")) from None
        _living.discard(self)
        return code

    def finish(self, timeout_s: float) -> None:
        """Wait for the command to end by itself. Raises ProcessFailed unless it ends in time and with 0."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=timeout_s)
        code = self.exit_code
        self.kill()
        if code != 0:
            raise ProcessFailed(self._story(f"ended with {code}" if code else f"did not end within {timeout_s:g} s"))

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Poll ``ready`` until it is true. Raises ProcessFailed after ``timeout_s`` or when the command has ended."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_code is not None:
                raise ProcessFailed(self._story(f"ended with {self.exit_code} before it did this: {what}"))
            if time.monotonic() > deadline:
                raise ProcessFailed(self._story(f"did not do this within {timeout_s:g} s: {what}"))
            time.sleep(_POLL_S)

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the output so far."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _root(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def _story(self, problem: str) -> str:
        return f"{' '.join(self.argv)}\n{problem}\n--- end of {self.log}\n{self.tail()}"


_living: set[ChildProcess] = set()


def _wait_gone(processes: Sequence[psutil.Process], timeout_s: float) -> None:
    """Wait until none is alive; their parent is dead, so whether anybody collects them is up to this machine's init."""
    deadline = time.monotonic() + timeout_s
    for process in processes:
        while _alive(process):
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{process} is still there {timeout_s:g} s after SIGKILL")
            time.sleep(_POLL_S)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@atexit.register
def _kill_living() -> None:
    for process in list(_living):
        process.kill()


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without settings meant for other servers (ER_*, PG*), with ``changes``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ER_", "PG"))}
    return {**kept, **changes}
