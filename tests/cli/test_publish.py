"""`publish`: arguments, files, stdin; results, failures and progress."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.conftest import DevNode

Stored = Callable[[str], dict[str, Any]]


@pytest.fixture
def stored(node: DevNode, er: CommandLine) -> Stored:
    """Return a function that waits for an event to be stored and returns it."""

    def stored(event_id: str) -> dict[str, Any]:
        node.wait_stored(event_id)
        (event,) = er("events", "show", event_id, "--json").documents
        return dict(event)

    return stored


def test_one_event_with_everything(er: CommandLine, stored: Stored) -> None:
    options = ["--priority", "7", "--correlation-id", "order-7", "--source", "shop", "--target", "late"]
    more = ["--metadata", '{"by": "test"}', "--id", "publish-everything", "--ack", "accepted", "--json"]
    (result,) = er("publish", "orders.created", '{"amount": 120}', *options, *more).documents
    assert result.keys() == {"id", "partition", "duplicate"}
    assert (result["id"], result["duplicate"]) == ("publish-everything", False)
    event = stored("publish-everything")
    assert event | {"timestamp": ""} == {
        "id": "publish-everything",
        "type": "orders.created",
        "priority": 7,
        "timestamp": "",
        "source": "shop",
        "target": "late",
        "correlation_id": "order-7",
        "payload": {"amount": 120},
        "metadata": {"by": "test"},
    }


def test_when_to_deliver_and_until_when(er: CommandLine, stored: Stored) -> None:
    before = datetime.now(UTC)
    (result,) = er(
        "publish", "later.on", "--deliver-at", "2h", "--expires-at", "2100-01-01T00:00:00Z", "--json"
    ).documents
    event = stored(result["id"])
    assert timedelta(hours=2) <= datetime.fromisoformat(event["deliver_at"]) - before < timedelta(hours=2, minutes=1)
    assert event["expires_at"] == "2100-01-01T00:00:00Z"
    assert "at most 30 days ahead" in er("publish", "later.on", "--deliver-at", "31d", code=1).err
    assert "in how long: 90s" in er("publish", "later.on", "--deliver-at", "soon", code=2).err


def test_one_event_for_people(er: CommandLine) -> None:
    first = er("publish", "orders.paid", "--id", "publish-twice")
    assert first.out.startswith("accepted publish-twice in partition ")
    assert "published before" in er("publish", "orders.paid", "--id", "publish-twice").out


def test_the_payload_from_stdin(er: CommandLine, stored: Stored) -> None:
    (result,) = er("publish", "stdin.payload", "-", "--json", stdin='{"a": [1, 2]}').documents
    assert stored(result["id"])["payload"] == {"a": [1, 2]}


def test_a_file(er: CommandLine, stored: Stored, tmp_path: Path) -> None:
    lines = tmp_path / "events.jsonl"
    lines.write_text("".join(json.dumps({"type": f"file.n{i}", "id": f"file-{i}"}) + "\n" for i in range(250)))
    results = er("publish", "--file", lines, "--batch", "100", "--json", "--source", "file").documents
    assert [result["line"] for result in results] == list(range(1, 251))
    assert [result["id"] for result in results] == [f"file-{i}" for i in range(250)]
    assert stored("file-249")["source"] == "file"
    again = er("publish", "--file", lines)
    assert again.out.startswith("published 0 events in ")
    assert "250 published before" in again.out


def test_options_fill_in_and_do_not_overwrite(er: CommandLine, stored: Stored) -> None:
    lines = '{"type": "fill.a", "id": "fill-a", "priority": 1}\n\n{"type": "fill.b", "id": "fill-b"}'
    er("publish", "-", "--priority", "8", stdin=lines)
    assert stored("fill-a")["priority"] == 1
    assert stored("fill-b")["priority"] == 8


def test_lines_that_fail_are_named_and_the_others_published(er: CommandLine) -> None:
    lines = '{"type": "some.good"}\nnot json\n\n{"type": "some.*"}\n[]\n{"type": "some.good", "x": 1}\n{"type": "ok"}\n'
    result = er("publish", "-", "--json", stdin=lines, code=5)
    assert [(each["line"], each.get("error", {}).get("field")) for each in result.documents] == [
        (1, None),
        (2, "event"),
        (4, "type"),
        (5, "event"),
        (6, "x"),
        (7, None),
    ]
    told = er("publish", "--file", "-", stdin=lines, code=5)
    assert "published 2 events" in told.out
    assert "4 failed" in told.out
    assert "error: line 4: type: " in told.err
    assert "next: " in told.err


def test_many_failures_are_counted_and_not_all_shown(er: CommandLine) -> None:
    told = er("publish", "-", stdin="x\n" * 50, code=5)
    assert told.err.count("error: line ") == 20
    assert "50 failed" in told.out


def test_a_live_pipe_is_published_as_it_comes(er: CommandLine) -> None:
    with er.start("publish", "-", "--json") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(1, 4):
            process.stdin.write('{"type": "live.pipe"}\n')
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["line"] == number
        process.stdin.close()
        assert process.wait(10) == 0


def test_progress_on_a_terminal_only(er: CommandLine, tmp_path: Path) -> None:
    lines = tmp_path / "events.jsonl"
    lines.write_text('{"type": "bar.shown"}\n' * 500)
    assert er("publish", "--file", lines).err == ""
    shown = er.on_terminal("publish", "--file", lines)
    assert shown.code == 0
    assert "publish" in shown.out.split("published")[0]
    assert "published 500 events" in shown.out


def test_nothing_at_all(er: CommandLine) -> None:
    assert er("publish", "-").out.startswith("published 0 events")
