"""`serve --workers`: nodes that share a port, are replaced when they die, and stop with their parent and only then."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from cli.exits import ExitCode
from cli.workers import reserve
from router_node.edges.server import listen
from tests.cli.command_line import CommandLine
from tests.support.ports import free_port
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(90)

WITHIN_S = 30


class Parent:
    """A running ``serve --workers``; ``log`` is the file that has what it and its workers write to stderr."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.port = 0

    async def serve(self) -> None:
        """Wait until it says that all serve."""
        assert self.process.stdout is not None
        said = await asyncio.to_thread(self.process.stdout.readline)
        assert said.startswith("Event Router listens on http://127.0.0.1:"), self.log.read_text()
        self.port = int(said.rpartition(":")[2])

    def entries(self, event: str) -> list[dict[str, Any]]:
        """Return the log's entries of that wording."""
        lines = self.log.read_text().splitlines()
        return [entry for line in lines if line.startswith("{") and (entry := json.loads(line))["event"] == event]

    def pids(self) -> dict[str, int]:
        """Return the process ids of the workers that served last, by name."""
        return {entry["worker"]: entry["pid"] for entry in self.entries("a worker serves")}

    async def answering(self, connections: int = 24) -> Counter[str]:
        """Return which nodes answered how many new connections."""
        return Counter([await self._who_answers() for _ in range(connections)])

    async def replaced(self, worker: str, pid: int) -> None:
        """Wait until another process serves as ``worker``."""
        await wait_for(lambda: self.pids()[worker] != pid, WITHIN_S, f"{worker} is replaced")

    async def ended(self) -> int:
        """Wait for the parent's end; returns its exit code."""
        code = await asyncio.to_thread(self.process.wait, WITHIN_S)
        assert "Traceback" not in self.log.read_text()
        return code

    async def _who_answers(self) -> str:
        async with connect(f"ws://127.0.0.1:{self.port}/v1/ws") as link:
            await link.send('{"op":"hello","version":1}')
            return str(json.loads(await link.recv())["node"])


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, redis_url: str, database_url: str) -> Start:
    """Return a context manager that runs two workers, on a cluster of its own."""
    cli = CommandLine(
        tmp_path,
        ER_REDIS_URL=redis_url,
        ER_DATABASE_URL=database_url,
        ER_NODE_ID="n",
        ER_LEASE_MS="500",
        ER_SECURITY="off",
    )

    @contextmanager
    def start(*options: str, **variables: str) -> Iterator[Parent]:
        log = tmp_path / "log"
        arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", "2", *options]
        with log.open("a") as stderr, cli.start(*arguments, stderr=stderr, **variables) as process:
            parent = Parent(process, log)
            try:
                yield parent
            finally:
                process.kill()
                for pid in parent.pids().values():
                    if runs(pid):
                        os.kill(pid, signal.SIGKILL)

    return start


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def test_connections_are_spread_over_nodes_on_one_port(start: Start) -> None:
    with start() as parent:
        await parent.serve()
        assert set(await parent.answering()) == {"n-1", "n-2"}
        assert {entry["node"] for entry in parent.entries("owns every partition")} < {"n-1", "n-2"}
        pids = parent.pids().values()
        parent.process.terminate()
        assert await parent.ended() == 0
        assert parent.process.stdout is not None
        assert parent.process.stdout.read() == ""
        assert not any(map(runs, pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_that_ends_by_itself_is_replaced(start: Start, number: signal.Signals) -> None:
    with start() as parent:
        await parent.serve()
        before = parent.pids()
        os.kill(before["n-2"], number)
        await parent.replaced("n-2", before["n-2"])
        assert parent.pids()["n-1"] == before["n-1"]
        assert set(await parent.answering()) == {"n-1", "n-2"}
        (ended,) = parent.entries("a worker ended; another is started")
        assert (ended["worker"], ended["code"]) == ("n-2", -9 if number == signal.SIGKILL else 0)
        parent.process.send_signal(signal.SIGINT)
        assert await parent.ended() == 0


async def test_workers_that_are_signalled_too_drain_all_the_same(start: Start) -> None:
    with start() as parent:
        await parent.serve()
        for pid in (parent.process.pid, *parent.pids().values()):
            os.kill(pid, signal.SIGTERM)
        assert await parent.ended() == 0


async def test_workers_end_with_a_parent_that_is_killed(start: Start) -> None:
    with start() as parent:
        await parent.serve()
        pids = parent.pids().values()
        parent.process.kill()
        await wait_for(lambda: not any(map(runs, pids)), WITHIN_S, "the workers have ended")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", parent.port)


async def test_a_second_signal_kills(start: Start) -> None:
    with start() as parent:
        await parent.serve()
        pids = parent.pids()
        os.kill(pids["n-1"], signal.SIGSTOP)
        parent.process.terminate()
        await wait_for(lambda: not runs(pids["n-2"]), WITHIN_S, "the other worker has drained")
        assert parent.process.poll() is None
        parent.process.terminate()
        assert await parent.ended() == ExitCode.INTERRUPTED
        assert not runs(pids["n-1"])
        assert "second signal" in parent.log.read_text()


async def test_a_worker_that_cannot_start_ends_all_with_its_code(start: Start) -> None:
    longest = "n" * 128
    with start(ER_NODE_ID=longest) as parent:
        assert await parent.ended() == ExitCode.USAGE
        said = parent.log.read_text()
        assert "node_id (ER_NODE_ID)" in said
        assert f"error: workers ended: {longest}-1 with 2" in said


async def test_a_signal_ends_workers_that_still_wait_for_redis(start: Start) -> None:
    with start(ER_REDIS_URL=f"redis://127.0.0.1:{free_port()}") as parent:
        waits = "waiting for what the node needs"
        await wait_for(lambda: len(parent.entries(waits)) >= 2, WITHIN_S, "both workers wait")
        parent.process.terminate()
        assert await parent.ended() == 0
    assert parent.entries("a worker serves") == []


def test_a_port_that_is_taken(tmp_path: Path, redis_url: str) -> None:
    cli = CommandLine(tmp_path, ER_REDIS_URL=redis_url)
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with listen("127.0.0.1", port, reuse_port=True), listen("127.0.0.1", port, reuse_port=True):
            result = cli("serve", "--listen", f"127.0.0.1:{port}", "--workers", "2", code=1)
            assert "next:  choose another with --listen" in result.err
