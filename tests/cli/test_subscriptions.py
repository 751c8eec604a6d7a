"""`subscriptions` and `replay`: made, looked at, paused, moved in time, and fed again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command_line import CommandLine
from tests.cli.conftest import DevNode


def test_put_show_list_delete(er: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "sub.json"
    file.write_text(json.dumps({"topics": ["cli-subs.none"], "max_in_flight": 7}))
    assert er("subscriptions", "put", "cli-subs", "--file", file, "--topic", "cli-subs.>").out == (
        "cli-subs takes cli-subs.>\n"
    )
    more = ["--where", '{"payload.n": 1}', "--set", '{"topics": ["cli-subs.>"], "ordering": "none"}']
    (put,) = er("subscriptions", "put", "cli-subs", *more, "--json").documents
    assert (put["filter"], put["ordering"], put["topics"]) == ({"payload.n": 1}, "none", ["cli-subs.>"])
    (shown,) = er("subscriptions", "show", "cli-subs", "--json").documents
    assert shown["backlog"] == 0
    assert "cli-subs.>" in er("subscriptions", "show", "cli-subs").out
    assert "cli-subs" in er("subscriptions", "list").out
    assert "cli-subs" in [each["name"] for each in er("subscriptions", "list", "--json").documents]
    put_at = ("subscriptions", "put", "cli-subs", "--topic", "cli-subs.>", "--if-match")
    assert "already" in er(*put_at, "0", code=1).err
    er(*put_at, str(put["revision"]))
    assert "changed" in er(*put_at, str(put["revision"]), code=1).err
    er("subscriptions", "delete", "cli-subs", "--if-match", str(put["revision"]), code=1)
    assert er("subscriptions", "delete", "cli-subs").out == "cli-subs is deleted\n"
    er("subscriptions", "show", "cli-subs", code=3)


def test_a_kafka_destination_is_put_shown_and_listed(er: CommandLine) -> None:
    destination = '{"destination": {"kind": "kafka", "topic": "out.late", "key": "type"}}'
    er("subscriptions", "put", "cli-kafka", "--topic", "cli-kafka.>", "--set", destination)
    (shown,) = er("subscriptions", "show", "cli-kafka", "--json").documents
    assert {name: shown["destination"][name] for name in ("kind", "topic", "key", "format")} == {
        "kind": "kafka",
        "topic": "out.late",
        "key": "type",
        "format": "event",
    }
    assert "out.late" in er("subscriptions", "show", "cli-kafka").out
    (line,) = [each for each in er("subscriptions", "list").out.splitlines() if "cli-kafka" in each]
    assert line.split()[1] == "kafka"
    refused = '{"destination": {"kind": "kafka", "topic": "secret"}}'
    fault = er("subscriptions", "put", "cli-kafka", "--topic", "cli-kafka.>", "--set", refused, code=1).err
    assert "destination.topic" in fault
    er("subscriptions", "delete", "cli-kafka")


def test_pause_resume_and_a_backlog_that_is_not_lost_unasked(er: CommandLine) -> None:
    er("subscriptions", "put", "cli-pause", "--topic", "cli-pause.>")
    assert er("subscriptions", "pause", "cli-pause", "--reason", "lunch").out == "cli-pause is paused\n"
    er("publish", "cli-pause.a")
    (found,) = er("subscriptions", "show", "cli-pause", "--json").documents
    assert (found["paused"], found["paused_reason"], found["backlog"]) == (True, "lunch", 1)
    assert "backlog" in er("subscriptions", "delete", "cli-pause", code=1).err
    assert er("subscriptions", "resume", "cli-pause").out == "cli-pause is delivering\n"
    assert er("subscribe", "cli-pause", "--count", "1", "--json").documents[0]["type"] == "cli-pause.a"
    er("subscriptions", "delete", "cli-pause", "--discard-backlog")


def test_replay_and_seek(node: DevNode, er: CommandLine) -> None:
    er("subscriptions", "put", "cli-replay", "--topic", "cli-replay.>")
    for n in range(3):
        (result,) = er("publish", "cli-replay.a", json.dumps({"n": n}), "-k", "one", "--json").documents
        node.wait_stored(result["id"])
    assert len(er("subscribe", "cli-replay", "--count", "3", "--json").documents) == 3

    (replay,) = er("replay", "-s", "cli-replay", "--type", "cli-replay.*", "--from", "1h", "--json").documents
    assert (replay["state"], replay["delivered"]) == ("done", 3)
    again = er("subscribe", "cli-replay", "--count", "3", "--json").documents
    assert [each["payload"]["n"] for each in again] == [0, 1, 2]
    assert {each["metadata"]["replayed"] for each in again} == {replay["id"]}

    (sought,) = er("subscriptions", "seek", "cli-replay", "--to", "1h", "--yes", "--json").documents
    assert "is done: 3 delivered" in er("replay", "--resume", sought["replay"]).out
    assert [each["id"] for each in er("replays", "list", "--json").documents][:2] == [sought["replay"], replay["id"]]
    assert replay["id"] in er("replays", "list").out
    assert "cli-replay" in er("replays", "show", replay["id"]).out
    assert "done already" in er("replays", "cancel", replay["id"], code=1).err
    assert "nothing was changed" in er("subscriptions", "seek", "cli-replay", "--to", "1h", stdin="n\n", code=1).err


def test_what_replay_needs_is_said(er: CommandLine) -> None:
    assert "--subscription" in er("replay", code=2).err
    assert "--resume" in er("replay", "-s", "a", "--resume", "b", code=2).err
    er("replay", "-s", "nobody-at-all", code=3)
    slow = er("replay", "--resume", "nothing", code=3)
    assert "no replay nothing" in slow.err
