"""A router node in a process of its own, as an operator starts it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Self

import aiohttp

from tests.support.child_process import ChildProcess, clean_environment
from tests.support.ports import free_port
from tests.support.signals import wait_for

_ROOT = Path(__file__).resolve().parents[2]


class NodeProcess:
    """One ``event-router serve`` on 127.0.0.1, or another ``module`` with the same command line.

    ``settings`` are further ER_* variables (``ER_LEASE_MS="500"``); security is off unless they turn it on. Leaving
    the context kills a node that still runs.

    >>> async with NodeProcess(redis_url=redis_url, database_url=database_url, node_id="one") as node:
    ...     await publish_to(node.url)
    ...     node.kill()
    """

    def __init__(
        self,
        *,
        redis_url: str,
        database_url: str,
        cluster: str = "default",
        node_id: str | None = None,
        ready_within_s: float = 20.0,
        module: str = "cli.main",
        **settings: str,
    ) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="er-node-"))
        self._ready_within_s = ready_within_s
        self._module = module
        self._settings = {
            "ER_REDIS_URL": redis_url,
            "ER_DATABASE_URL": database_url,
            "ER_LISTEN": f"127.0.0.1:{self.port}",
            "ER_CLUSTER": cluster,
            "ER_SECURITY": "off",
            **({"ER_NODE_ID": node_id} if node_id else {}),
            **settings,
        }
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Base URL of the node's HTTP API, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> ChildProcess:
        """The process last started. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError("the node was never started")
        return self._process

    async def start(self) -> Self:
        """Start the node and return it when it is ready; starting again after its end is allowed."""
        self.spawn()
        await self.ready()
        return self

    def spawn(self) -> None:
        """Start the node without waiting for it, as in a test where it cannot become ready yet."""
        self._process = ChildProcess(
            [sys.executable, "-m", self._module, "serve"],
            log=self.folder / "node.log",
            env=clean_environment(PYTHONUNBUFFERED="1", **self._settings),
            cwd=_ROOT,
        )

    async def ready(self) -> None:
        """Return when GET /readyz answers 200.

        Raises AssertionError with the end of the node's output when it ends before or takes longer than
        ``ready_within_s``; the node is killed then.
        """
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
                await wait_for(lambda: self._is_ready(session), self._ready_within_s, f"{self.url}/readyz answers 200")
        except AssertionError as failure:
            self.kill()
            raise AssertionError(f"{failure}\n--- end of the node's output\n{self.tail()}") from None
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the node as a crash would (SIGKILL)."""
        self.process.kill()

    async def terminate(self, timeout_s: float = 20.0) -> int:
        """Ask the node to drain and end (SIGTERM); returns its exit code. Raises ProcessFailed after ``timeout_s``."""
        return await asyncio.to_thread(self.process.terminate, timeout_s=timeout_s)

    def pause(self) -> None:
        """Freeze the node where it stands (SIGSTOP)."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused node go on."""
        self.process.resume()

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the node's output, over all its starts."""
        return self.process.tail(lines)

    async def __aenter__(self) -> Self:
        if self._process is not None:
            return self
        try:
            return await self.start()
        except BaseException:
            self.remove()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Kill the node if it runs and delete its folder."""
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        if self.process.exit_code is not None:
            raise AssertionError(f"the node ended with {self.process.exit_code} before it was ready")
        try:
            async with session.get(f"{self.url}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
