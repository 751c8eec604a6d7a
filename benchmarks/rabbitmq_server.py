"""A RabbitMQ server of the benchmark's own, with everything it writes in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Self

from benchmarks.broker_binaries import server_on_path
from tests.support.child_process import ChildProcess, clean_environment
from tests.support.ports import free_port

_READY_WITHIN_S = 60.0
# The first bytes of AMQP 0-9-1 from a client; a server that is up answers with a method frame.
_HELLO = b"AMQP\x00\x00\x09\x01"


def rabbitmq_folder() -> Path | None:
    """Return the folder of the server's scripts, None when there is no RabbitMQ.

    What is found is a wrapper on Debian, which changes to the user ``rabbitmq`` and lies beside links to the scripts.
    """
    found = server_on_path("rabbitmq-server")
    return (found.resolve().parent / "rabbitmq-server").resolve().parent if found else None


def rabbitmq_version() -> str | None:
    """Return the version that the folder is named after, None without a server."""
    folder = rabbitmq_folder()
    return folder.parent.name.partition("-")[2] if folder else None


class RabbitmqServer:
    """One server on 127.0.0.1 for the length of a ``with``; its queues go with it.

    It comes with an epmd of its own, Erlang's directory of nodes: one that the server started would outlive it.
    """

    def __init__(self) -> None:
        scripts = rabbitmq_folder()
        if scripts is None:
            raise FileNotFoundError("there is no RabbitMQ")
        self._folder = Path(tempfile.mkdtemp(prefix="er-rabbitmq-"))
        self._port, epmd_port = free_port(), free_port()
        environment = clean_environment(
            HOME=str(self._folder),
            ERL_EPMD_ADDRESS="127.0.0.1",
            ERL_EPMD_PORT=str(epmd_port),
            RABBITMQ_NODENAME=f"bench{self._port}@localhost",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self._port),
            RABBITMQ_DIST_PORT=str(free_port()),
            RABBITMQ_MNESIA_BASE=str(self._folder / "mnesia"),
            RABBITMQ_LOG_BASE=str(self._folder / "log"),
            RABBITMQ_LOGS="-",
            RABBITMQ_PID_FILE=str(self._folder / "pid"),
            RABBITMQ_CONFIG_FILE=str(self._folder / "none"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(self._folder / "none.config"),
            RABBITMQ_CONF_ENV_FILE=str(self._folder / "none.env"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self._folder / "no-plugins"),
        )
        self._epmd = ChildProcess(["epmd"], log=self._folder / "epmd.log", env=environment)
        self.process = ChildProcess(
            [scripts / "rabbitmq-server"], log=self._folder / "rabbitmq.log", env=environment, cwd=self._folder
        )

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def __enter__(self) -> Self:
        try:
            self.process.wait_until(self._answers, _READY_WITHIN_S, "greet a client")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self._epmd.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(_HELLO)
                return connection.recv(64).startswith(b"\x01")
        except OSError:
            return False
