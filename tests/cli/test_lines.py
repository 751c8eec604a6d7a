"""Lines are read as they come, whatever they come from."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from cli import lines
from cli.lines import Line, opened, read_lines
from router_client.errors import TooLarge


async def all_of(descriptor: int) -> list[Line]:
    return [line async for chunk in read_lines(descriptor) for line in chunk.lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"\n \n\r\n", []),
        (b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (b"a\n\nb", [(1, b"a"), (3, b"b")]),
    ],
)
async def test_lines_of_a_file(tmp_path: Path, text: bytes, expected: list[tuple[int, bytes]]) -> None:
    file = tmp_path / "lines"
    file.write_bytes(text)
    with opened(file) as (descriptor, size):
        assert (size or 0) == len(text)
        assert await all_of(descriptor) == expected


async def test_lines_longer_than_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BYTES", 3)
    file = tmp_path / "lines"
    file.write_bytes(b"abcdefgh\nij\n\nk")
    with opened(file) as (descriptor, _):
        assert await all_of(descriptor) == [(1, b"abcdefgh"), (2, b"ij"), (4, b"k")]


async def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    file = tmp_path / "lines"
    file.write_bytes(b"a\n" + b"x" * 11)
    with opened(file) as (descriptor, _), pytest.raises(TooLarge, match="line 2"):
        await all_of(descriptor)


async def test_a_pipe_is_read_as_it_comes_and_waiting_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    try:
        chunks = read_lines(reading)
        os.write(writing, b"a\nb")
        assert (await anext(chunks)).lines == [(1, b"a")]
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.wait([waiting], timeout=0.01)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    finally:
        os.close(reading)
        os.close(writing)
