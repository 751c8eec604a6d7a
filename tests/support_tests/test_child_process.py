"""Children of the test session: signalled as a tree, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.child_process import ChildProcess, ProcessFailed, clean_environment
from tests.support.signals import wait_for

ROOT = Path(__file__).resolve().parents[2]
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[ChildProcess]:
    yield from started(SLEEPER, log)


@pytest.fixture
def deaf(log: Path) -> Iterator[ChildProcess]:
    yield from started(DEAF, log)


def started(program: str, log: Path) -> Iterator[ChildProcess]:
    child = ChildProcess([sys.executable, "-c", program], log=log)
    child.wait_until(lambda: "up" in child.tail(), 10, "say that it is up")
    yield child
    child.kill()


def test_kill_reaches_grandchildren(log: Path) -> None:
    child = ChildProcess([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'])"], log=log)
    root = psutil.Process(child.pid)
    child.wait_until(lambda: bool(root.children()), 10, "start its child")
    grandchildren = root.children()
    child.kill()
    child.kill()
    assert child.exit_code == -signal.SIGKILL
    assert [process for process in grandchildren if process.is_running() and process.status() != "zombie"] == []


def test_pause_and_resume(sleeper: ChildProcess) -> None:
    process = psutil.Process(sleeper.pid)
    sleeper.pause()
    assert process.status() == psutil.STATUS_STOPPED
    sleeper.resume()
    sleeper.wait_until(lambda: process.status() == psutil.STATUS_SLEEPING, 5, "go on")


def test_terminate_ends_even_a_paused_process(sleeper: ChildProcess) -> None:
    sleeper.pause()
    assert sleeper.terminate() == -signal.SIGTERM


def test_a_process_deaf_to_the_signal_is_killed_and_reported(deaf: ChildProcess) -> None:
    with pytest.raises(ProcessFailed, match=r"did not end within 0\.2 s of SIGTERM"):
        deaf.terminate(timeout_s=0.2)
    assert deaf.exit_code == -signal.SIGKILL


def test_waiting_for_a_process_that_ends_shows_its_last_words(log: Path) -> None:
    child = ChildProcess([sys.executable, "-c", "import sys; sys.exit('no such luck')"], log=log)
    with pytest.raises(ProcessFailed, match=r"(?s)ended with 1.*answer.*no such luck"):
        child.wait_until(lambda: False, 10, "answer")


def test_waiting_in_vain_is_bounded(sleeper: ChildProcess) -> None:
    with pytest.raises(ProcessFailed, match=r"within 0\.05 s: answer"):
        sleeper.wait_until(lambda: False, 0.05, "answer")


def test_finish_reports_failure(log: Path) -> None:
    ChildProcess([sys.executable, "-c", "pass"], log=log).finish(10)
    with pytest.raises(ProcessFailed, match="ended with 3"):
        ChildProcess([sys.executable, "-c", "raise SystemExit(3)"], log=log).finish(10)


def test_a_child_outlives_the_thread_that_asked_for_it(log: Path) -> None:
    children: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: children.append(next(started(SLEEPER, log))))
    thread.start()
    thread.join()
    assert children[0].exit_code is None
    children[0].kill()


async def test_a_child_dies_with_a_session_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.support.child_process import ChildProcess\n"
        f"child = ChildProcess([sys.executable, '-c', {SLEEPER!r}], log=Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        pid = int(session.stdout.readline())
        assert psutil.pid_exists(pid)
        session.kill()
    await wait_for(lambda: not is_alive(pid), 5, "the child of the killed session is gone")


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_clean_environment_forgets_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ER_REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("PGPORT", "1")
    environment = clean_environment(ER_CLUSTER="mine")
    assert {name for name in environment if name.startswith(("ER_", "PG"))} == {"ER_CLUSTER"}
    assert environment["PATH"] == os.environ["PATH"]
