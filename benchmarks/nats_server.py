"""A NATS server of the benchmark's own, with JetStream in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from benchmarks.broker_binaries import server_on_path
from tests.support.child_process import ChildProcess, clean_environment
from tests.support.ports import free_port

_READY_WITHIN_S = 15.0


def nats_binary() -> Path | None:
    """Return nats-server, None when there is none."""
    return server_on_path("nats-server")


def nats_version() -> str | None:
    """Return the server's version, None without one."""
    binary = nats_binary()
    if binary is None:
        return None
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True)
    return said.stdout.strip().rpartition(" ")[2].removeprefix("v")


class NatsServer:
    """One server on 127.0.0.1 for the length of a ``with``; its streams go with it."""

    def __init__(self) -> None:
        binary = nats_binary()
        if binary is None:
            raise FileNotFoundError("there is no nats-server on the PATH")
        self._folder = Path(tempfile.mkdtemp(prefix="er-nats-"))
        self._port = free_port()
        options = ("--jetstream", "--store_dir", self._folder, "--addr", "127.0.0.1", "--port", str(self._port))
        self.process = ChildProcess([binary, *options], log=self._folder / "nats.log", env=clean_environment())

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        try:
            self.process.wait_until(self._answers, _READY_WITHIN_S, "greet a client")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                return connection.recv(64).startswith(b"INFO")
        except OSError:
            return False
