"""`subscribe` and `tail`: events as they come, acknowledged once they are out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.command_line import CommandLine
from tests.cli.conftest import interrupt


@contextmanager
def waiting(er: CommandLine, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that consumes, until it says that it waits for events."""
    with er.start(*arguments) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "waiting for events; Ctrl-C ends\n"
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_tail_shows_what_is_published_from_now_on(er: CommandLine) -> None:
    er("publish", "tail.before", '{"n": 0}')
    with waiting(er, "tail", "tail.*", "--json", "--where", '{"payload.n": {"$gt": 1}}') as tail:
        er(
            "publish",
            "-",
            "-k",
            "tail",
            stdin="".join(f'{{"type": "tail.now", "payload": {{"n": {n}}}}}\n' for n in range(4)),
        )
        shown = [json.loads(line) for line in lines(tail, 2)]
        assert [event["payload"]["n"] for event in shown] == [2, 3]
        assert interrupt(tail)[0] == ""
        assert tail.returncode == 130


def test_tail_for_people(er: CommandLine) -> None:
    with waiting(er, "tail", "people.>", "--count", "1") as tail:
        er("publish", "people.greeted", '{"text": "h\\u001b[31mi"}', "-k", "key-1", "-p", "9")
        (line,) = lines(tail, 1)
        assert " 9 people.greeted key=key-1 " in line
        assert "\x1b" not in line
        assert tail.wait(10) == 0


def test_a_durable_subscription_keeps_what_was_not_taken(er: CommandLine) -> None:
    with waiting(er, "subscribe", "keeper", "--topic", "keep.*", "--count", "1") as first:
        er("publish", "keep.one", "-k", "keeper")
        lines(first, 1)
        assert first.wait(10) == 0
    er("publish", "-", "-k", "keeper", stdin='{"type": "keep.two"}\n{"type": "keep.three"}\n{"type": "lost.four"}\n')
    rest = er("subscribe", "keeper", "--count", "2", "--json").documents
    assert [event["type"] for event in rest] == ["keep.two", "keep.three"]


def test_what_is_not_named_of_a_subscription_stays(er: CommandLine) -> None:
    with waiting(er, "subscribe", "changed", "-t", "changed.a", "-t", "changed.b") as first:
        interrupt(first)
    with waiting(er, "subscribe", "changed", "--where", '{"payload.n": 2}', "--count", "1", "--json") as second:
        er("publish", "-", stdin="".join(f'{{"type": "changed.b", "payload": {{"n": {n}}}}}\n' for n in (1, 2)))
        assert json.loads(lines(second, 1)[0])["payload"] == {"n": 2}


def test_looking_without_ack_leaves_the_event_there(er: CommandLine) -> None:
    with waiting(er, "subscribe", "looker", "--topic", "look.*", "--no-ack", "--count", "1", "--json") as look:
        er("publish", "look.here", "--id", "look-1")
        assert json.loads(lines(look, 1)[0])["id"] == "look-1"
        assert look.wait(10) == 0
    (event,) = er("subscribe", "looker", "--count", "1", "--json").documents
    assert event["id"] == "look-1"


def test_a_subscription_that_does_not_exist_needs_a_topic(er: CommandLine) -> None:
    refused = er("subscribe", "nobody", code=3)
    assert "event-router subscribe nobody --topic" in refused.err


def test_a_name_that_the_router_refuses(er: CommandLine) -> None:
    assert "name" in er("subscribe", "no good", "--topic", "a.b", code=1).err
