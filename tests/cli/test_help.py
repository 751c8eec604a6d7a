"""Every command explains itself: help with examples, and a reference that leaves nothing out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from cli.exits import ExitCode
from cli.main import app
from tests.cli.command_line import ROOT, CommandLine

REFERENCE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
GENERATED = {"--help", "--install-completion", "--show-completion", "--version", "--no-ack"}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that is not a group, with its path."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(get_command(app)))


def examples_of(command: Any) -> list[str]:
    return [line.strip().replace(r"\[", "[") for line in (command.epilog or "").splitlines()[1:]]


@pytest.fixture(params=COMMANDS, ids=" ".join)
def path(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def test_these_are_the_commands() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "dev",
        "serve",
        "publish",
        "subscribe",
        "tail",
        "events list",
        "events show",
        "events trace",
        "events deliveries",
        "deliveries list",
        "dlq list",
        "dlq counts",
        "dlq show",
        "dlq replay",
        "dlq purge",
        "nodes list",
        "subscriptions list",
        "subscriptions show",
        "subscriptions put",
        "subscriptions delete",
        "subscriptions pause",
        "subscriptions resume",
        "subscriptions seek",
        "filters test",
        "replay",
        "replays list",
        "replays show",
        "replays cancel",
        "nodes show",
        "nodes drain",
        "partitions list",
        "partitions show",
        "partitions grow",
        "partitions rebalance",
        "auth keys create",
        "auth keys list",
        "auth keys rotate",
        "auth keys revoke",
        "auth policies list",
        "auth policies show",
        "auth policies put",
        "auth policies delete",
        "auth me",
        "auth can-i",
        "auth audit",
        "config show",
        "config check",
        "doctor",
    }


def test_every_command_has_examples_of_itself(path: tuple[str, ...]) -> None:
    examples = examples_of(COMMANDS[path])
    assert examples
    assert all("event-router " + " ".join(path) in example for example in examples)


def test_examples_fit_80_columns_and_a_shell_reads_them(path: tuple[str, ...]) -> None:
    for example in examples_of(COMMANDS[path]):
        assert len(example) <= 78, example
        assert shlex.split(example)


def test_every_example_is_in_the_reference(path: tuple[str, ...]) -> None:
    lines = REFERENCE.splitlines()
    assert [example for example in examples_of(COMMANDS[path]) if example not in lines] == []


def test_every_option_is_in_the_reference(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in (*parameter.opts, *parameter.secondary_opts)}
    missing = {option for option in options - GENERATED if option.startswith("-") and f"`{option}" not in REFERENCE}
    assert missing == set()


def test_every_command_that_has_a_result_offers_json(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert ("--json" in options) is (path not in {("dev",), ("serve",)})


def test_the_first_line_of_help_is_short(path: tuple[str, ...]) -> None:
    assert len((COMMANDS[path].help or "").split("\n\n")[0]) <= 62


def test_every_exit_code_is_in_the_reference() -> None:
    assert [code for code in ExitCode if f"| {int(code)} |" not in REFERENCE] == []


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["publish", "--help"], ["dlq", "replay", "--help"], ["partitions", "grow", "--help"]],
    ids=" ".join,
)
def test_help_fits_80_columns(cli: CommandLine, arguments: list[str]) -> None:
    shown = cli(*arguments).out
    assert "event-router" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_examples_are_shown_as_they_are_written(cli: CommandLine) -> None:
    shown = cli("publish", "--help").out
    for example in examples_of(COMMANDS["publish",]):
        assert example in shown


def test_the_version(cli: CommandLine) -> None:
    assert cli("--version").out.startswith("event-router 0.")
