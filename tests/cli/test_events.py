"""`events`: stored events as tables at 80 columns and as JSON."""

from __future__ import annotations

import secrets

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.conftest import DevNode


@pytest.fixture
def flights(er: CommandLine, node: DevNode) -> str:
    """Publish three departures under a key of the test's own, and return the key."""
    key = f"N{secrets.token_hex(4)}"
    lines = "".join(
        f'{{"type": "flights.departed.EWR.UA", "id": "{key}-{n}", "payload": {{"n": {n}, "carrier": "UA"}}}}\n'
        for n in range(3)
    )
    published = er("publish", "-", "--correlation-id", key, "--source", key, "--json", stdin=lines)
    node.wait_stored(published.documents[-1]["id"])
    return key


def test_list_as_json_newest_first(er: CommandLine, flights: str) -> None:
    events = er("events", "list", "--correlation-id", flights, "--json").documents
    assert [event["payload"]["n"] for event in events] == [2, 1, 0]


def test_list_at_80_columns_with_whole_ids(er: CommandLine, flights: str) -> None:
    ids = [event["id"] for event in er("events", "list", "--source", flights, "--json").documents]
    table = er("events", "list", "--source", flights).out
    assert max(map(len, table.splitlines())) <= 80
    assert [line.split()[0] for line in table.splitlines() if line.startswith(flights)] == ids


def test_conditions(er: CommandLine, flights: str) -> None:
    def found(*conditions: str) -> int:
        return len(er("events", "list", "--correlation-id", flights, "--json", *conditions).documents)

    assert found("--type", "flights.departed.>", "--since", "1h") == 3
    assert found("--payload", '{"n": 1}') == 1
    assert found("--until", "1h") == 0
    assert found("--limit", "2") == 2
    assert found("--since", "2100-01-01T00:00:00Z") == 0


def test_more_than_a_page(er: CommandLine, node: DevNode) -> None:
    published = er(
        "publish",
        "-",
        "--source",
        "pages",
        "--correlation-id",
        "pages",
        "--json",
        "--batch",
        "1000",
        stdin='{"type": "page.full"}\n' * 1100,
    )
    node.wait_stored(published.documents[-1]["id"])
    ids = {event["id"] for event in er("events", "list", "--source", "pages", "--limit", "1050", "--json").documents}
    assert len(ids) == 1050


def test_nothing_found_is_no_error(er: CommandLine) -> None:
    result = er("events", "list", "--source", "nowhere")
    assert result.out == ""
    assert "no stored event" in result.err


def test_show_for_people(er: CommandLine, flights: str) -> None:
    (event,) = er("events", "list", "--correlation-id", flights, "--limit", "1", "--json").documents
    shown = er("events", "show", event["id"]).out
    assert f"id: {event['id']}" in shown
    assert '"carrier": "UA"' in shown


def test_trace(er: CommandLine, flights: str) -> None:
    (event,) = er("events", "list", "--correlation-id", flights, "--limit", "1", "--json").documents
    (trace,) = er("events", "trace", event["id"], "--json").documents
    assert trace["event"]["id"] == event["id"]
    assert [other["payload"]["n"] for other in trace["correlation"]] == [0, 1, 2]
    shown = er("events", "trace", event["id"]).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "no dead letters" in shown
