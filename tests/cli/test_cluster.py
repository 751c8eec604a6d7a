"""`nodes` and `partitions`, asked of a small cluster behind real edges."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cli.exits import ExitCode
from cli.rows import levels
from router_node.node import embedded
from tests.cli.command_line import CommandLine, Result
from tests.edges.served import served
from tests.edges.small_cluster import SmallCluster

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def desk() -> SmallCluster:
    return SmallCluster()


@pytest.fixture
async def line(desk: SmallCluster, tmp_path: Path) -> AsyncIterator[CommandLine]:
    """The command line with ER_URL naming a node of ``desk``'s cluster, which runs in the test's own loop."""
    async with embedded() as running:
        running.management.cluster = desk
        async with served(running.engine, running.management) as server:
            yield CommandLine(tmp_path, ER_URL=server.url)


@pytest.fixture
def run(line: CommandLine) -> Run:
    """Return a function that runs a command in a thread, so that the loop can serve it."""

    async def run(*arguments: str, **options: Any) -> Result:
        return await asyncio.to_thread(line, *arguments, **options)

    return run


async def test_nodes_are_listed(run: Run) -> None:
    listed = (await run("nodes", "list", "--json")).documents
    assert [each["node"] for each in listed] == ["eu/1", "node-2", "node-3"]
    head, first, *_ = (await run("nodes", "list")).out.splitlines()
    assert head.split() == ["NODE", "STATE", "PARTITIONS", "CONSUMERS", "UNSETTLED", "EVENTS/S", "SEEN"]
    assert first.split() == ["eu/1", "live", "2", "3", "12", "1,234", "0.2", "s", "ago"]


async def test_a_node_is_shown(run: Run) -> None:
    assert (await run("nodes", "show", "eu/1", "--json")).documents[0]["address"] == "10.0.0.1:8080"
    assert "address: 10.0.0.1:8080" in (await run("nodes", "show", "eu/1")).out
    missing = await run("nodes", "show", "node-9", code=ExitCode.NOT_FOUND)
    assert "no node node-9" in missing.err


async def test_a_node_is_drained_with_and_without_waiting(run: Run, desk: SmallCluster) -> None:
    desk.held = True
    assert (await run("nodes", "drain", "eu/1")).out == "eu/1 is draining\n"
    desk.held = False
    assert (await run("nodes", "drain", "eu/1", "--wait")).out == "eu/1 is drained\n"
    assert [each["partitions"] for each in await desk.nodes()] == [0, 1, 3]
    undone = await run("nodes", "drain", "eu/1", "--undo", "--json")
    assert undone.documents == [{"node": "eu/1", "state": "live"}]
    assert [each["state"] for each in await desk.nodes()] == ["live"] * 3


async def test_waiting_ends_when_the_node_is_called_back(line: CommandLine, desk: SmallCluster) -> None:
    desk.held = True
    with line.start("nodes", "drain", "eu/1", "--wait") as process:
        await desk.looked_at("nodes", 2)
        await desk.drain("eu/1", undo=True)
        _, err = await asyncio.to_thread(process.communicate, timeout=10)
    assert process.returncode == ExitCode.FAILED
    assert "eu/1 was called back to work" in err


async def test_waiting_goes_on_while_the_node_asked_cannot_answer(line: CommandLine, desk: SmallCluster) -> None:
    desk.held = True
    with line.start("partitions", "grow", "8", "--wait") as process:
        await desk.looked_at("growth", 3)
        desk.away = True
        await desk.looked_at("away", 1)
        desk.away = desk.held = False
        out, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert (process.returncode, out) == (0, "there are 8 partitions\n")


async def test_what_cannot_be_drained(run: Run) -> None:
    await run("nodes", "drain", "node-9", "--wait", code=ExitCode.NOT_FOUND)
    assert "nothing to wait for" in (await run("nodes", "drain", "eu/1", "--undo", "--wait", code=ExitCode.USAGE)).err


async def test_partitions_are_listed(run: Run, desk: SmallCluster) -> None:
    desk.held = True
    desk.scatter()
    listed = await run("partitions", "list", "--json")
    assert [each["partition"] for each in listed.documents] == [0, 1, 2, 3]
    assert listed.err == ""
    lines = [row.split() for row in (await run("partitions", "list")).out.splitlines()]
    assert lines[0] == ["PARTITION", "OWNER", "LAST", "HAND-OFF", "BACKLOG", "SPILLED", "LAG"]
    when = ["03-01", "12:00:00.000"]
    assert lines[1] == ["0", "eu/1", "->", "node-2", *when, "9:3", "5:120", "-", "-"]
    assert lines[3] == ["2", "node-3", "->", "eu/1", *when, "9:3", "5:120", "14", "1.0", "s"]
    assert lines[4][:2] == ["3", "eu/1"]


async def test_a_partition_is_shown(run: Run) -> None:
    shown = (await run("partitions", "show", "2")).out
    assert "last hand-off: 2026-03-01T12:00:00.000Z\n" in shown
    assert "backlog: 9:3 5:120\n" in shown
    assert (await run("partitions", "show", "2", "--json")).documents[0]["backlog"]["5"] == 120
    await run("partitions", "show", "4", code=ExitCode.NOT_FOUND)


async def test_growing_is_begun_watched_and_found_done(run: Run, desk: SmallCluster) -> None:
    desk.held = True
    begun = await run("partitions", "grow", "8")
    assert begun.out == "growing from 4 to 8 partitions: 4 of 4 sealed, 0 passed, 5 lanes wait\n"
    assert "partitions grow 8 --wait" in begun.err
    assert (await run("partitions", "grow", "8", "--json")).documents[0]["to"] == 8
    assert "growing from 4 to 8" in (await run("partitions", "list")).err
    assert "growing to 8" in (await run("partitions", "grow", "16", code=ExitCode.FAILED)).err
    desk.held = False
    assert (await run("partitions", "grow", "8", "--wait")).out == "there are 8 partitions\n"
    assert (await run("partitions", "grow", "8", "--wait", "--json")).documents == [{"partitions": 8}]
    assert "to: " in (await run("partitions", "grow", "4", code=ExitCode.FAILED)).err
    await run("partitions", "grow", "1025", code=ExitCode.USAGE)


async def test_ctrl_c_leaves_the_growth_going(line: CommandLine, desk: SmallCluster) -> None:
    desk.held = True
    with line.start("partitions", "grow", "8", "--wait") as process:
        await desk.looked_at("growth", 3)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(process.communicate, timeout=10)
    assert process.returncode == ExitCode.INTERRUPTED
    assert (out, err) == ("", "growing from 4 to 8 goes on; it is only not watched any more\n")
    assert await desk.growth() is not None


async def test_a_bar_on_a_terminal(line: CommandLine) -> None:
    shown = await asyncio.to_thread(line.on_terminal, "partitions", "grow", "8", "--wait")
    assert shown.code == 0
    assert "growing from 4 to 8" in shown.out
    assert "4/4" in shown.out
    assert "there are 8 partitions" in shown.out


async def test_rebalancing(run: Run, desk: SmallCluster) -> None:
    assert (await run("partitions", "rebalance")).out == "every partition is in its place\n"
    desk.held = True
    desk.scatter()
    assert (await run("partitions", "rebalance", "--json")).documents == [{"moving": 3}]
    desk.held = False
    assert (await run("partitions", "rebalance", "--wait")).out == "every partition is in its place\n"


def test_a_backlog_is_shown_highest_priority_first() -> None:
    assert levels({"0": 1, "9": 2, "5": 0}) == "9:2 0:1"
    assert levels({"5": 0}) == "-"
