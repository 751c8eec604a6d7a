"""`partitions`: who owns what, growing, and putting everything in its place."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, Wait, examples
from cli.failures import Failure
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_note, print_table
from cli.rows import PARTITION_COLUMNS, levels, partition_row
from cli.watching import watch
from partitioning.slots import MAX_PARTITIONS

app = typer.Typer(no_args_is_help=True, help="Partitions: list, show, grow, rebalance.")

LIST_EXAMPLES = (
    "event-router partitions list",
    "event-router partitions list --json | jq 'select(.owner != .placed)'",
)
SHOW_EXAMPLES = ("event-router partitions show 17",)
GROW_EXAMPLES = (
    "event-router partitions grow 128",
    "event-router partitions grow 128 --wait",
)
REBALANCE_EXAMPLES = ("event-router partitions rebalance --wait",)

Number = Annotated[int, typer.Argument(metavar="PARTITION", min=0, help="The number of the partition.")]
Target = Annotated[
    int, typer.Argument(metavar="N", min=1, max=MAX_PARTITIONS, help="How many partitions there are to be.")
]


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_partitions(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the partitions with their owners and backlogs.

    The backlog is shown by priority, 9:3 5:120, and is of what no node has
    settled; "a -> b" is owned by a and on its way to b. With --json: one
    partition a line.
    """
    found = run(_partitions(url))
    if as_json:
        for partition in found["partitions"]:
            print_json(partition)
    else:
        print_table(PARTITION_COLUMNS, map(partition_row, found["partitions"]))
    if found["growth"]:
        print_note(_told(found["growth"]))


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_partition(number: Number, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one partition: owner, epoch, last hand-off, backlog.

    With --json: the partition, one document.
    """
    partition = run(_partition(url, number))
    if as_json:
        print_json(partition)
        return
    shown = {**partition, "backlog": levels(partition["backlog"])}
    print_details(("last hand-off" if name == "since" else name, value) for name, value in shown.items())


@app.command("grow", epilog=examples(*GROW_EXAMPLES))
def grow_partitions(number: Target, wait: Wait = False, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Grow to N partitions while everything goes on.

    Events of a key keep their order. There is no way back to fewer. Run it
    again with the same N to watch a growth that is under way. With --json: how
    far it is, {"from", "to", "sealed", "passed", "partitions",
    "lanes_waiting"}, and {"partitions": N} once it is done.
    """
    growth = run(_grow(url, number))
    if growth and wait:
        what = f"growing from {growth['from']} to {growth['to']}"
        watch(url, what, lambda api: _left_to_grow(api, number), growth["partitions"])
        growth = None
    if as_json:
        print_json(growth or {"partitions": number})
    elif growth:
        print_line(_told(growth))
        print_note(f"watch it: event-router partitions grow {number} --wait")
    else:
        print_line(f"there are {number} partitions")


@app.command("rebalance", epilog=examples(*REBALANCE_EXAMPLES))
def rebalance_partitions(wait: Wait = False, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Have every partition go to its place now.

    Nodes look at their placement by themselves; this makes them look at once.
    With --json: {"moving": n}.
    """
    moving = run(_rebalance(url))
    if moving and wait:
        watch(url, "rebalancing", _out_of_place, moving)
        moving = 0
    if as_json:
        print_json({"moving": moving})
    elif moving:
        print_line(f"{moving} partitions move")
    else:
        print_line("every partition is in its place")


def _told(growth: dict[str, Any]) -> str:
    return (
        f"growing from {growth['from']} to {growth['to']} partitions: {growth['sealed']} of {growth['partitions']} "
        f"sealed, {growth['passed']} passed, {growth['lanes_waiting']} lanes wait"
    )


async def _partitions(url: str) -> dict[str, Any]:
    async with Api(url) as api:
        return await api.partitions()


async def _partition(url: str, number: int) -> dict[str, Any]:
    async with Api(url) as api:
        return await api.partition(number)


async def _rebalance(url: str) -> int:
    async with Api(url) as api:
        return await api.rebalance()


async def _grow(url: str, number: int) -> dict[str, Any] | None:
    """Begin to grow, or find it begun; None when there are so many partitions already."""
    async with Api(url) as api:
        found = await api.partitions()
        if found["growth"] is None and len(found["partitions"]) == number:
            return None
        return await api.grow(number)


async def _left_to_grow(api: Api, number: int) -> int:
    """Return how many partitions have not passed yet, at least one while the growth lasts."""
    found = await api.partitions()
    growth = found["growth"]
    if growth is not None:
        return max(1, int(growth["partitions"]) - int(growth["passed"]))
    if len(found["partitions"]) != number:
        raise Failure(f"the growth has ended with {len(found['partitions'])} partitions", "see the log of the nodes")
    return 0


async def _out_of_place(api: Api) -> int:
    return sum(each["owner"] != each["placed"] for each in (await api.partitions())["partitions"])
