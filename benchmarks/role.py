"""A process that plays one part in a benchmark, seen from both sides.

The child says ``ready`` when it could begin, begins when told, says what it measured, and stays until it is told to
leave, so that its CPU time can still be read. Times are time.monotonic(), which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

STARTS_WITHIN_S = 60.0
LEAVES_WITHIN_S = 10.0


class RoleFailed(RuntimeError):
    """A part of the benchmark ended early or said nothing in time; its own error stands above, on stderr."""


class Role:
    """The parent's side: one running part."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def begin(self) -> None:
        """Tell the child to begin."""
        self._stdin.write(b"begin\n")

    async def result(self, timeout_s: float) -> dict[str, Any]:
        """Wait for what the child measured. Raises RoleFailed."""
        return await self._said(timeout_s)

    async def ready(self) -> None:
        """Wait until the child could begin. Raises RoleFailed."""
        await self._said(STARTS_WITHIN_S)

    async def leave(self) -> None:
        """Let the child end; one that does not is killed."""
        self._stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), LEAVES_WITHIN_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None
        return self._process.stdin

    async def _said(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise RoleFailed(f"{self.name} said nothing for {timeout_s:g} s") from None
        if not line:
            raise RoleFailed(f"{self.name} ended early")
        said: dict[str, Any] = orjson.loads(line)
        return said


@asynccontextmanager
async def role(name: str, module: str, *arguments: str) -> AsyncIterator[Role]:
    """Run ``python -m module arguments`` as a part; it is ready when this enters and gone when it leaves."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE)
    part = Role(name, process)
    try:
        await part.ready()
        yield part
    finally:
        await part.leave()


def say(**what: Any) -> None:
    """In the child: tell the parent."""
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


async def told() -> None:
    """In the child: wait for the parent's next word: to begin, and in the end to leave."""
    await asyncio.to_thread(sys.stdin.readline)


async def play(
    produce: Callable[[str, int], Awaitable[None]], consume: Callable[[str, int], Awaitable[None]], server: str = "url"
) -> None:
    """In the child: play the part that the command line names, with the server that the option ``server`` names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("produce", "consume"))
    parser.add_argument(f"--{server}", dest="server", required=True)
    parser.add_argument("--count", type=int, required=True)
    chosen = parser.parse_args()
    await (produce if chosen.part == "produce" else consume)(chosen.server, chosen.count)
