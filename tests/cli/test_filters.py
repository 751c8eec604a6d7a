"""`filters test`: without a node, with a stored event, and for a subscription."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import filters
from cli.exits import ExitCode
from cli.failures import Failure
from router_client.errors import Unavailable
from tests.cli.command_line import CommandLine
from tests.cli.conftest import DevNode

FILTER = '{"payload.amount": {"$gt": 100}, "source": "shop"}'


def event(amount: int) -> str:
    return json.dumps({"type": "orders.created", "source": "shop", "payload": {"amount": amount}})


def test_without_a_node(cli: CommandLine) -> None:
    assert cli("filters", "test", "--filter", FILTER, "--event", event(50), code=1).out == (
        "does not match: filter.payload.amount.$gt asks for 100, and payload.amount is 50\n"
        "✗ payload.amount $gt 100: 50\n"
        '✓ source $eq "shop": "shop"\n'
    )
    assert cli("filters", "test", "--filter", FILTER, "--event", event(120)).out.splitlines()[0] == "matches"
    cli("filters", "test", "--filter", FILTER, "--event", event(120), "-t", "flights.>", "-t", "orders.*")
    missed = cli("filters", "test", "--filter", FILTER, "--event", event(120), "-t", "flights.>", code=1)
    assert "no topic pattern (flights.>) covers orders.created" in missed.out


def test_from_files_and_stdin(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(FILTER)
    (tmp_path / "e.json").write_text(event(50))
    (found,) = cli("filters", "test", "--filter", "@f.json", "--event", "-", "--json", stdin=event(120)).documents
    assert (found["matches"], len(found["conditions"])) == (True, 2)
    (found,) = cli("filters", "test", "--filter", "-", "--event", "@e.json", "--json", stdin=FILTER, code=1).documents
    assert found["conditions"][0]["found"] == [{"value": 50}]


def test_bad_input_has_a_code_of_its_own(cli: CommandLine, tmp_path: Path) -> None:
    def refused(*arguments: str, **variables: str) -> str:
        return " ".join(cli("filters", "test", *arguments, code=2, **variables).err.split())

    assert "filter.payload.a.$over" in refused("--filter", '{"payload.a": {"$over": 1}}', "--event", event(1))
    assert "event.priority" in refused("--filter", "{}", "--event", '{"type": "a", "priority": 12}')
    assert "topics[0]" in refused("--filter", "{}", "--event", event(1), "--topic", "a..b")
    assert "--filter" in refused("--filter", "{", "--event", event(1))
    assert "No such file" in refused("--filter", "@none.json", "--event", event(1))
    assert "stdin" in refused("--filter", "-", "--event", "-")
    assert "--subscription" in refused("--event", event(1))
    assert "--subscription" in refused("--filter", "{}", "--subscription", "billing", "--event", event(1))
    assert "--event-id" in refused("--filter", "{}")


def test_colour_is_for_terminals(cli: CommandLine) -> None:
    arguments = ["filters", "test", "--filter", FILTER, "--event", event(50)]
    coloured = cli.on_terminal(*arguments)
    assert coloured.code == 1
    assert "\x1b[32m✓\x1b[0m" in coloured.out
    assert "\x1b[31m✗\x1b[0m" in coloured.out
    assert "\x1b" not in cli.on_terminal(*arguments, NO_COLOR="1").out


def test_an_event_cannot_act_on_the_terminal(cli: CommandLine) -> None:
    evil = json.dumps({"type": "a", "payload": {"s": "\u202e\x1b[2J"}})
    shown = cli("filters", "test", "--filter", '{"payload.s": "x"}', "--event", evil, code=1).out
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_stored_event_and_a_subscription(er: CommandLine, node: DevNode) -> None:
    (result,) = er("publish", "cli-filters.a", '{"n": 1}', "--target", "cli-other", "--json").documents
    node.wait_stored(result["id"])
    er("filters", "test", "--filter", '{"payload.n": 1}', "--event-id", result["id"])
    er("subscriptions", "put", "cli-filters", "--topic", "cli-filters.>", "--where", '{"payload.n": 1}')
    missed = er("filters", "test", "-s", "cli-filters", "--event-id", result["id"], code=1).out
    assert missed.splitlines() == [
        "does not match: the event is for cli-other alone",
        "✓ topics cli-filters.>: cli-filters.a",
        "✗ target cli-other: this is cli-filters",
        "✓ payload.n $eq 1: 1",
    ]
    er("filters", "test", "-s", "cli-filters", "--event", '{"type": "cli-filters.a", "payload": {"n": 1}}')
    bad = er("filters", "test", "--filter", '{"a": {"$over": 1}}', "--event-id", result["id"], code=2)
    assert "filter.a.$over" in bad.err
    er("filters", "test", "-s", "cli-filters", "--event-id", "nothing", code=3)
    er("filters", "test", "-s", "cli-nobody", "--event-id", result["id"], code=3)
    er("subscriptions", "delete", "cli-filters", "--discard-backlog")


def test_without_a_node_a_subscription_cannot_be_tried(cli: CommandLine) -> None:
    cli("filters", "test", "-s", "billing", "--event", event(1), code=4)


def test_a_node_that_cannot_answer_is_no_event_that_does_not_match(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> dict[str, Any]:
        raise Unavailable("the store is away")

    monkeypatch.setattr(filters, "_asked", away)
    with pytest.raises(Failure) as failed:
        filters.try_filter(subscription="billing", event_id="e-1")
    assert failed.value.code == ExitCode.UNREACHABLE
