"""`deliveries list`, `events deliveries`, `dlq counts` and the history in `dlq show`."""

from __future__ import annotations

import time

import pytest

from router_client.client import EventRouterClient
from tests.cli.command_line import CommandLine
from tests.cli.conftest import DevNode
from tests.support.signals import wait_for

NAME = "logged"


@pytest.fixture
async def event_id(node: DevNode, er: CommandLine) -> str:
    """An event that failed once and was rejected then, in a subscription of this test's own."""
    name = f"{NAME}-{time.monotonic_ns()}"
    async with EventRouterClient(node.url.replace("http", "ws")) as client:
        async with client.subscription(name).topics(f"{name}.*").open() as deliveries:
            published = await client.publish(f"{name}.bad", {"n": 1}, correlation_id=name)
            await (await anext(deliveries)).nack(delay_s=0, error="not \x1b[31mnow\x1b[0m")
            await (await anext(deliveries)).reject("never")

        async def logged() -> bool:
            return len(er("events", "deliveries", published.id, "--json").documents) == 2

        await wait_for(logged, 10, "two attempts are logged")
        return published.id


async def test_the_attempts_of_an_event_oldest_first(er: CommandLine, event_id: str) -> None:
    found = er("events", "deliveries", event_id, "--json").documents
    assert [(each["attempt"], each["outcome"], each["dead"]) for each in found] == [
        (1, "failed", False),
        (2, "rejected", True),
    ]
    shown = er("events", "deliveries", event_id).out
    assert "rejected, dead" in shown
    assert "\x1b" not in shown
    assert len(er("events", "deliveries", event_id, "--limit", "1", "--json").documents) == 1
    assert "no attempt in the log fits" in er("events", "deliveries", "none").err


async def test_attempts_by_subscription_and_outcome_newest_first(er: CommandLine, event_id: str) -> None:
    name = er("events", "deliveries", event_id, "--json").documents[0]["subscription"]
    found = er("deliveries", "list", "--subscription", name, "--since", "5m", "--json").documents
    assert [each["outcome"] for each in found] == ["rejected", "failed"]
    table = er("deliveries", "list", "--subscription", name, "--outcome", "failed").out
    assert max(map(len, table.splitlines())) <= 80
    assert event_id in table
    assert "rejected" not in table
    assert "no attempt in the log fits" in er("deliveries", "list", "--subscription", name, "--until", "1h").err
    refused = er("deliveries", "list", "--outcome", "lost", code=2).err
    assert "--outcome" in refused
    assert "timed_out" in refused


async def test_a_dead_letter_is_counted_and_shown_with_its_history(er: CommandLine, event_id: str) -> None:
    name = er("events", "deliveries", event_id, "--json").documents[0]["subscription"]
    (letter,) = er("dlq", "list", "--subscription", name, "--json").documents
    (shown,) = er("dlq", "show", letter["id"], "--json").documents
    assert [each["error"] for each in shown["history"]] == ["not \x1b[31mnow\x1b[0m", "never"]
    text = er("dlq", "show", letter["id"]).out
    assert "attempts\n" in text
    assert "rejected, dead" in text
    counts = er("dlq", "counts", "--json").documents
    assert {"subscription": name, "reason": "rejected", "count": 1} in counts
    assert "SUBSCRIPTION" in er("dlq", "counts").out
