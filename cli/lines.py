"""NDJSON from a file or stdin, as it comes: what has arrived is handed on at once, so that a live pipe is prompt."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from router_client.errors import TooLarge
from router_client.event import MAX_EVENT_BYTES

READ_BYTES = 1024 * 1024
# Escapes can make a line longer than the event it stands for; beyond this it cannot be one.
MAX_LINE_BYTES = 8 * MAX_EVENT_BYTES


class Line(NamedTuple):
    """A line that is not empty, with its number, from 1."""

    number: int
    text: bytes


class Chunk(NamedTuple):
    """The lines that became whole by one read, and how many bytes that read brought."""

    lines: list[Line]
    size: int


@contextmanager
def opened(path: Path | None) -> Iterator[tuple[int, int | None]]:
    """Open ``path``, or stdin for None; yields the file descriptor and the size in bytes where there is one.

    Raises OSError when it cannot be opened.
    """
    if path is None:
        yield sys.stdin.fileno(), None
        return
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        yield file.fileno(), status.st_size or None


async def read_lines(descriptor: int) -> AsyncIterator[Chunk]:
    """Yield chunks of lines until the end. Raises TooLarge for a line beyond ``MAX_LINE_BYTES``.

    Cancelling it while it waits for input loses nothing but what was not read.
    """
    number, rest = 0, b""
    while True:
        await _readable(descriptor)
        data = os.read(descriptor, READ_BYTES)
        *whole, rest = (rest + data).split(b"\n")
        if not data and rest:
            whole, rest = [rest], b""
        lines = []
        for text in whole:
            number += 1
            if text.strip():
                lines.append(Line(number, text))
        yield Chunk(lines, len(data))
        if not data:
            return
        if len(rest) > MAX_LINE_BYTES:
            raise TooLarge(f"longer than {MAX_LINE_BYTES} bytes; an event a line", field=f"line {number + 1}")


async def _readable(descriptor: int) -> None:
    """Wait until a read returns at once; a thread that reads could not be ended by Ctrl-C."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:
        return  # A regular file, which the selector does not take, and which never lets a reader wait.
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
