"""`nodes`: the cluster's nodes, to list, to look at and to drain."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, Wait, examples
from cli.failures import Failure
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_table
from cli.rows import NODE_COLUMNS, node_row
from cli.watching import watch
from router_client.errors import NotFound

app = typer.Typer(no_args_is_help=True, help="Nodes of the cluster: list, show, drain.")

LIST_EXAMPLES = (
    "event-router nodes list",
    "event-router nodes list --json | jq -r 'select(.state == \"live\") | .node'",
)
SHOW_EXAMPLES = ("event-router nodes show host-7-1",)
DRAIN_EXAMPLES = (
    "event-router nodes drain host-7-1 --wait",
    "event-router nodes drain host-7-1 --undo",
)

NodeId = Annotated[str, typer.Argument(metavar="NODE", help="The id of the node (ER_NODE_ID).")]
Undo = Annotated[bool, typer.Option("--undo", help="Back to work: it takes partitions again.")]


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_nodes(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the nodes of the cluster.

    Any node answers for all. With --json: one node a line.
    """
    nodes = run(_nodes(url))
    if as_json:
        for node in nodes:
            print_json(node)
    else:
        print_table(NODE_COLUMNS, map(node_row, nodes))


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_node(node_id: NodeId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one node: address, version, partitions, load.

    With --json: the node, one document.
    """
    node = run(_node(url, node_id))
    if as_json:
        print_json(node)
    else:
        print_details(node.items())


@app.command("drain", epilog=examples(*DRAIN_EXAMPLES))
def drain_node(
    node_id: NodeId, undo: Undo = False, wait: Wait = False, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Have a node hand its partitions to the others.

    It keeps running and serving, and takes no partitions until --undo. With
    --json: {"node": ..., "state": "draining", "drained" or "live"}.
    """
    if undo and wait:
        raise typer.BadParameter("there is nothing to wait for with --undo")
    run(_set_draining(url, node_id, undo=undo))
    if wait:
        watch(url, f"draining {node_id}", _Draining(node_id).left)
    state = "live" if undo else "drained" if wait else "draining"
    if as_json:
        print_json({"node": node_id, "state": state})
    else:
        print_line(f"{node_id} is {state}")


async def _nodes(url: str) -> list[dict[str, Any]]:
    async with Api(url) as api:
        return await api.nodes()


async def _node(url: str, node_id: str) -> dict[str, Any]:
    async with Api(url) as api:
        return await api.node(node_id)


async def _set_draining(url: str, node_id: str, *, undo: bool) -> None:
    async with Api(url) as api:
        await (api.undrain if undo else api.drain)(node_id)


class _Draining:
    """A node that is being drained, looked at again and again."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._began = False

    async def left(self, api: Api) -> int:
        """Return how many partitions it still has; one that has left the cluster has none.

        Raises Failure when it was called back to work meanwhile: that would never end.
        """
        try:
            node = await api.node(self._node_id)
        except NotFound:
            return 0
        draining = node["state"] == "draining"
        if self._began and not draining:
            raise Failure(f"{self._node_id} was called back to work", "see `event-router nodes list`")
        self._began = draining
        return int(node["partitions"])
