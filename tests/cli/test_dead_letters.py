"""`dlq`: dead letters listed, looked at, delivered again and removed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest

from router_client.client import EventRouterClient
from tests.cli.command_line import CommandLine
from tests.cli.conftest import DevNode, interrupt
from tests.support.signals import wait_for

Kill = Callable[[str, int], Awaitable[list[str]]]


def _bad(name: str, n: int) -> dict[str, object]:
    # One key, so that they die in this order.
    return {"type": f"{name}.bad", "payload": {"n": n}, "correlation_id": name}


@pytest.fixture
def kill(node: DevNode, er: CommandLine) -> Kill:
    """Return a function that makes dead letters of a subscription and returns their ids."""

    async def kill(name: str, count: int) -> list[str]:
        async with EventRouterClient(node.url.replace("http", "ws")) as client:
            async with client.subscription(name).topics(f"{name}.*").open() as deliveries:
                await client.publish_many([_bad(name, n) for n in range(count)])
                for _ in range(count):
                    await (await anext(deliveries)).reject("the \x1b[31mpart\x1b[0m does not fit")
            found: list[str] = []

            async def all_there() -> bool:
                found[:] = [each["id"] for each in await client.history.dead_letters(subscription=name, limit=1000)]
                return len(found) == count

            await wait_for(all_there, 10, f"{count} dead letters of {name}")
            return found

    return kill


async def test_list(er: CommandLine, kill: Kill) -> None:
    ids = await kill("dead-list", 3)
    letters = er("dlq", "list", "--subscription", "dead-list", "--json").documents
    assert [letter["id"] for letter in letters] == ids
    assert {letter["reason"] for letter in letters} == {"rejected"}
    assert {letter["event"]["type"] for letter in letters} == {"dead-list.bad"}
    table = er("dlq", "list", "--subscription", "dead-list").out
    assert max(map(len, table.splitlines())) <= 80
    assert all(any(line.startswith(letter_id) for line in table.splitlines()) for letter_id in ids)
    assert len(er("dlq", "list", "--subscription", "dead-list", "--limit", "2", "--json").documents) == 2


async def test_show(er: CommandLine, kill: Kill) -> None:
    (letter_id,) = await kill("dead-show", 1)
    (letter,) = er("dlq", "show", letter_id, "--json").documents
    assert letter["error"] == "the \x1b[31mpart\x1b[0m does not fit"
    shown = er("dlq", "show", letter_id).out
    assert "does not fit" in shown
    assert "\x1b" not in shown


async def test_replay_by_id_delivers_again(er: CommandLine, kill: Kill) -> None:
    first, second = await kill("dead-replay", 2)
    assert er("dlq", "replay", first, "--json").documents == [{"replayed": 1}]
    (event,) = er("subscribe", "dead-replay", "--count", "1", "--json").documents
    assert event["payload"] == {"n": 0}
    assert [letter["id"] for letter in er("dlq", "list", "--subscription", "dead-replay", "--json").documents] == [
        second
    ]


async def test_some_were_gone_already(er: CommandLine, kill: Kill) -> None:
    (letter_id,) = await kill("dead-gone", 1)
    some = er("dlq", "purge", letter_id, "none", code=5)
    assert "purged 1 of 2" in some.out
    assert "1 dead letters were gone" in some.err
    assert "none of these" in er("dlq", "purge", letter_id, code=3).err


async def test_all_of_a_subscription_in_parts(er: CommandLine, kill: Kill) -> None:
    await kill("dead-many", 250)
    chosen = ["--subscription", "dead-many", "--reason", "rejected"]
    refused = er("dlq", "purge", *chosen, code=2)
    assert "250 dead letters" in refused.err
    assert "--yes" in refused.err
    assert er("dlq", "purge", *chosen, "--yes").out == "purged 250 of 250 dead letters\n"
    assert "no dead letters" in er("dlq", "list", "--subscription", "dead-many").err
    assert er("dlq", "purge", *chosen, "--yes", "--json").documents == [{"purged": 0}]


async def test_a_rate_is_kept_and_the_type_and_time_choose(er: CommandLine, kill: Kill) -> None:
    await kill("dead-paced", 30)
    assert er("dlq", "list", "--type", "dead-paced.good", "--json").documents == []
    assert er("dlq", "list", "--type", "dead-paced.*", "--until", "1h", "--json").documents == []
    chosen = ["--type", "dead-paced.*", "--since", "5m", "--yes", "--json"]

    began = time.monotonic()
    assert er("dlq", "purge", *chosen, "--rate", "20").documents == [{"purged": 30}]
    # In parts of 4: seven pauses of a fifth of a second each.
    assert time.monotonic() - began >= 1.4


async def test_an_interrupted_replay_goes_on_when_run_again(er: CommandLine, kill: Kill) -> None:
    await kill("dead-slow", 40)
    chosen = ("--subscription", "dead-slow", "--yes")
    process = er.start("dlq", "purge", *chosen, "--rate", "10")

    def begun() -> bool:
        return len(er("dlq", "list", "--subscription", "dead-slow", "--limit", "100", "--json").documents) < 40

    await wait_for(begun, 20, "the first are purged")
    _, written = interrupt(process)

    assert process.returncode == 130
    assert "run it again to go on" in written
    left = len(er("dlq", "list", "--subscription", "dead-slow", "--limit", "100", "--json").documents)
    assert 0 < left < 40
    assert er("dlq", "purge", *chosen, "--json").documents == [{"purged": left}]
