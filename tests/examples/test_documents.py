"""The examples in README.md and docs/ are programs: each one runs as it stands there."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.sources import ROOT, name_of

RUNS_WITHIN_S = 30
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n\s*)?```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_HELP = re.compile(r"^\$ event-router (?P<arguments>.*--help)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a document; ``reason`` says why it is only compiled, empty when it is run."""

    where: str
    language: str
    text: str
    reason: str


def blocks_of(name: str, document: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    return [
        Block(
            f"{name}:{document.count(chr(10), 0, found.start('text')) + 1}",
            found["language"],
            found["text"],
            found["reason"] or "",
        )
        for found in _BLOCK.finditer(document)
    ]


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[Block]:
    found = (block for path in documents() for block in blocks_of(name_of(path), path.read_text(encoding="utf-8")))
    return [block for block in found if block.language == language]


async def test_every_python_block_runs() -> None:
    problems = [problem for block in blocks("python") if (problem := await problem_of(block))]
    assert not problems, "\n\n".join(problems)


async def test_every_help_shown_is_there() -> None:
    shown = [(block.where, arguments) for block in blocks("console") for arguments in _HELP.findall(block.text)]
    problems = [problem for at, words in shown if (problem := await run(at, "-m", "cli.main", *shlex.split(words)))]
    assert not problems, "\n\n".join(problems)


async def problem_of(block: Block) -> str | None:
    """Run a block, or compile it when a comment says why it cannot run; returns what went wrong."""
    try:
        compile(block.text, block.where, "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT if block.reason else 0)
    except SyntaxError as error:
        return f"{block.where}: {error.msg}; a fragment needs a line <!-- not run: why --> before it"
    return None if block.reason else await run(block.where, "-c", block.text)


async def run(where: str, *arguments: str) -> str | None:
    """Run Python in the repository; returns what went wrong, with the program's own output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), RUNS_WITHIN_S)
    except TimeoutError:
        return f"{where} did not end within {RUNS_WITHIN_S} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return f"{where} ended with {process.returncode}:\n{output.decode()}" if process.returncode else None


def test_how_blocks_are_found() -> None:
    document = (
        "# Title\n\n```python\nprint(1)\n```\n\ntext\n\n<!-- not run: needs a server -->\n```python\nx = 2\n```\n"
        "```console\n$ event-router serve --help\n$ event-router serve\n```\n"
    )
    assert blocks_of("a.md", document) == [
        Block("a.md:4", "python", "print(1)\n", ""),
        Block("a.md:11", "python", "x = 2\n", "needs a server"),
        Block("a.md:14", "console", "$ event-router serve --help\n$ event-router serve\n", ""),
    ]
    assert _HELP.findall(document) == ["serve --help"]


@pytest.mark.parametrize(
    ("text", "reason", "problem"),
    [
        ("print(1)", "", None),
        ("1 / 0", "", r"(?s)a\.md:4 ended with 1:\n.*ZeroDivisionError"),
        ("1 / 0", "it fails", None),
        ("await x", "", r"a\.md:4: 'await' outside function; a fragment needs"),
        ("await x", "a fragment", None),
        ("x = (", "a fragment", r"a\.md:4: .* was never closed"),
    ],
)
async def test_what_is_wrong_with_a_block(text: str, reason: str, problem: str | None) -> None:
    found = await problem_of(Block("a.md:4", "python", text, reason))
    assert (found is None) if problem is None else re.match(problem, str(found)), found
