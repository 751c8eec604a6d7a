"""`serve --workers N`: one process that starts N nodes on one port, keeps them running, and stops them together.

A worker is this same program, told apart by a variable. It holds the reading end of a pipe from its parent: the pipe's
end asks it to drain, whether the parent was asked to stop or is gone, even by SIGKILL. Signals would not do for that:
service managers send them to the workers as well, and a node's second one forces it to end.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from cli.exits import ExitCode
from cli.failures import Failure
from router_client.reconnect import Backoff
from router_node.config import Settings

BACKOFF = Backoff(base_s=0.5, max_s=30.0)
STEADY_S = 60.0
"""A worker that lived so long starts the backoff from its beginning."""

_IS_WORKER = "EVENT_ROUTER_WORKER"

log = structlog.get_logger(__name__)


async def run_workers(settings: Settings, config: Path | None, announce: Callable[[str], None]) -> None:
    """Run ``settings.workers`` nodes until SIGTERM or SIGINT; ``announce`` is told their address once all serve.

    The first signal lets them drain, a second kills them. One that ends by itself is replaced, at once at first and
    then after growing pauses; one that ends before all have served ends all. Raises OSError when the address is taken,
    and Failure unless all ended with 0. Cancelling kills the workers.
    """
    host, port = settings.address
    with reserve(host, port) as reserved:
        address = f"{settings.listen.rpartition(':')[0]}:{reserved.getsockname()[1]}"
        names = [f"{settings.node_id}-{number}" for number in range(1, settings.workers + 1)]
        shared = _environment(settings, config, address)
        crew = [_Worker(name, {**shared, "ER_NODE_ID": name}) for name in names]
        await _Crew(crew).run(announce)


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that holds the address for workers to listen on, and takes no connections itself.

    Raises OSError when somebody listens there already, workers of another parent included.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    reserved = socket.socket(family, kind)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(address)
        # Only now: a socket that shares its port when it is bound would join whoever else does.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        reserved.close()
        raise
    return reserved


def is_worker() -> bool:
    """Tell whether this process was started by :func:`run_workers`."""
    return _IS_WORKER in os.environ


async def parent_asks() -> None:
    """Return when the parent of this worker asks it to end, or is gone."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        pipe.close()


class _Crew:
    """The workers of one parent, and the signals that stop them."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = workers
        self._stop = asyncio.Event()
        self._all_serve = asyncio.Event()
        self._forced = False

    async def run(self, announce: Callable[[str], None]) -> None:
        """Run until all workers have ended for good. Raises Failure unless all ended with 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        async with asyncio.TaskGroup() as tasks:
            kept = [tasks.create_task(each.keep(self._stop, self._all_serve), name=each.name) for each in self._workers]
            announcing = tasks.create_task(self._announce(announce), name="announce")
            await asyncio.wait(kept)
            announcing.cancel()
        if self._forced:
            raise Failure("ended at the second signal, before all was drained", code=ExitCode.INTERRUPTED)
        failed = {task.get_name(): task.result() for task in kept if task.result() != 0}
        if failed:
            raise _failure(failed)

    async def _announce(self, announce: Callable[[str], None]) -> None:
        for worker in self._workers:
            await worker.serves.wait()
        self._all_serve.set()
        announce(self._workers[0].address)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._forced = True
            for worker in self._workers:
                worker.kill()
        self._stop.set()


class _Worker:
    """One node in a process of its own; ``serves`` is set once it takes requests at ``address``."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.serves = asyncio.Event()
        self.address = ""
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self, stop: asyncio.Event, all_serve: asyncio.Event) -> int:
        """Keep a process running until ``stop``, which one that ends before ``all_serve`` sets; returns its exit code.

        Exit codes are those of subprocess: negative for a signal.
        """
        tries = 0
        clock = asyncio.get_running_loop().time
        while True:
            started_at = clock()
            code = await self._live(stop)
            if stop.is_set():
                return code
            if not all_serve.is_set():
                stop.set()
                return code or int(ExitCode.FAILED)
            tries = 0 if clock() - started_at > STEADY_S else tries + 1
            pause_s = BACKOFF.delay(tries, random.random()) if tries else 0.0  # noqa: S311 - no secret
            log.warning("a worker ended; another is started", worker=self.name, code=code, pause_s=round(pause_s, 2))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            if stop.is_set():
                return 0

    def kill(self) -> None:
        """End the process at once, if there is one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _live(self, stop: asyncio.Event) -> int:
        # In a session of its own: Ctrl-C in a terminal is for the parent, which passes it on in its own way.
        self._process = process = await asyncio.create_subprocess_exec(
            *_itself(),
            "serve",
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [
                    tasks.create_task(_ask_at(stop, process), name=f"{self.name} stop"),
                    tasks.create_task(self._listen(process), name=f"{self.name} output"),
                ]
                code = await process.wait()
                for task in watching:
                    task.cancel()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return code

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - asked for when it was started
        while line := await process.stdout.readline():
            self.address = line.decode().strip()
            log.info("a worker serves", worker=self.name, pid=process.pid)
            self.serves.set()


async def _ask_at(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    await stop.wait()
    assert process.stdin is not None  # noqa: S101 - asked for when it was started
    process.stdin.close()


def _itself() -> list[str]:
    """Return how this program was started, up to its own arguments: interpreter, its options, script or module."""
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]]


def _environment(settings: Settings, config: Path | None, address: str) -> dict[str, str]:
    """Return the variables of every worker; those of the options stand in for them, as no options are passed on."""
    return {
        **os.environ,
        **({"ER_CONFIG": str(config)} if config else {}),
        "ER_DATABASE_URL": settings.database_url,
        "ER_LISTEN": address,
        "ER_REUSE_PORT": "true",
        "ER_WORKERS": "1",
        _IS_WORKER: "1",
    }


def _failure(failed: Mapping[str, int]) -> Failure:
    """Return what to say of workers that failed; the exit code is the first one's, where it is one of ours."""
    code = next(iter(failed.values()))
    listed = ", ".join(f"{name} with {number}" for name, number in failed.items())
    return Failure(
        f"workers ended: {listed}",
        "what each said stands above",
        ExitCode(code) if code in set(ExitCode) else ExitCode.FAILED,
    )
