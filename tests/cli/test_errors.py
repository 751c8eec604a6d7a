"""What goes wrong is said on stderr with the next step, and the exit code tells scripts what kind it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exits import ExitCode
from cli.failures import explain
from router_client.errors import (
    ClosedError,
    Conflict,
    ConnectionLost,
    EventRouterError,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
)
from tests.cli.command_line import CommandLine


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("no", field="type"), ExitCode.FAILED),
        (Conflict("no"), ExitCode.FAILED),
        (Overloaded("no"), ExitCode.FAILED),
        (Unavailable("no"), ExitCode.FAILED),
        (ClosedError("no"), ExitCode.FAILED),
        (EventRouterError("no"), ExitCode.FAILED),
        (NotFound("no"), ExitCode.NOT_FOUND),
        (ConnectionLost("no"), ExitCode.UNREACHABLE),
        (OSError(2, "no"), ExitCode.FAILED),
        (ExceptionGroup("outer", [ExceptionGroup("inner", [NotFound("no")])]), ExitCode.NOT_FOUND),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_code_and_its_next_step(error: Exception, code: ExitCode) -> None:
    failure = explain(error)
    assert failure is not None
    assert failure.code == code
    assert "no" in failure.message
    assert failure.next_step


def test_a_fault_of_our_own_is_not_explained_away() -> None:
    assert explain(ZeroDivisionError()) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["events", "list"],
        ["events", "show", "1"],
        ["dlq", "purge", "1-1-1"],
        ["publish", "a.b"],
        ["subscribe", "late"],
        ["tail", ">"],
    ],
    ids=" ".join,
)
def test_no_node_there(cli: CommandLine, arguments: list[str]) -> None:
    result = cli(*arguments, code=4)
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert "next:  start a node with `event-router dev`" in result.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bogus"], "bogus"),
        (["publish"], "TYPE"),
        (["publish", "a.*"], "wildcard"),
        (["publish", "a.b", "[1]"], "PAYLOAD"),
        (["publish", "a.b", "{"], "PAYLOAD"),
        (["publish", "a.b", "--priority", "10"], "--priority"),
        (["publish", "a.b", "--metadata", "1"], "--metadata"),
        (["publish", "a.b", "--file", "f"], "come either"),
        (["publish", "-", "--id", "1"], "--id"),
        (["tail", ">", "--where", "x"], "--where"),
        (["tail", ">", "--url", "ftp://x"], "--url"),
        (["events", "list", "--since", "yesterday"], "--since"),
        (["dlq", "purge"], "--all"),
        (["dlq", "replay", "1-1-1", "--all"], "--all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage(cli: CommandLine, arguments: list[str], named: str) -> None:
    result = cli(*arguments, code=2)
    assert result.out == ""
    assert named in " ".join(result.err.split())


def test_a_file_that_is_not_there(cli: CommandLine) -> None:
    assert "none.jsonl" in cli("publish", "--file", "none.jsonl", code=1).err


def test_not_found(er: CommandLine) -> None:
    for arguments in (["events", "show", "none"], ["events", "trace", "none"], ["dlq", "show", "1-1-1"]):
        assert "error: " in er(*arguments, code=3).err


def test_what_the_node_refuses(er: CommandLine) -> None:
    assert "type" in er("events", "list", "--type", "a..b", code=1).err


def test_a_reader_that_had_enough(er: CommandLine, tmp_path: Path) -> None:
    lines = tmp_path / "events.jsonl"
    lines.write_text('{"type": "pipe.broken", "payload": {"text": "%s"}}\n' % ("x" * 1000) * 2000)
    with er.start("publish", "--file", lines, "--json") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == ExitCode.READER_GONE
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_reader_that_was_never_there(cli: CommandLine) -> None:
    with cli.start("config", "show", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == ExitCode.READER_GONE
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_colour_only_on_a_terminal(cli: CommandLine) -> None:
    assert "\x1b[" not in cli("events", "list", code=4).err
    assert "\x1b[1;31merror" in cli.on_terminal("events", "list").out
    assert "\x1b[1;31merror" not in cli.on_terminal("events", "list", NO_COLOR="1").out
