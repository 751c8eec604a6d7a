"""`deliveries`: the delivery log, what became of each attempt to deliver an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, examples, moment
from cli.foreground import run
from cli.output import print_json, print_note, print_table
from cli.rows import DELIVERY_COLUMNS, delivery_row
from router_client.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="The delivery log: list attempts.")

NOTHING = "no attempt in the log fits; which are logged is the nodes' setting delivery_log"

LIST_EXAMPLES = (
    "event-router deliveries list --subscription late --outcome failed",
    "event-router deliveries list --subscription late --since 15m --limit 500",
    "event-router deliveries list --outcome timed_out --json | jq -r .event_id",
)


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_deliveries(
    subscription: Annotated[
        str | None, typer.Option("--subscription", metavar="NAME", help="To this subscription.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="acked, failed, timed_out, disconnected, rejected or expired.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Ended then or later: RFC 3339, or so long ago (90s, 15m, 7d)."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Ended before then.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List attempts to deliver events, newest first.

    Those of one event: event-router events deliveries ID. With --json: one
    attempt a line, with the error and what the destination answered.
    """
    start, end = moment(since, "--since"), moment(until, "--until")
    query = {
        "subscription": subscription,
        "outcome": outcome,
        "from": start.isoformat() if start else None,
        "to": end.isoformat() if end else None,
    }
    try:
        run(_list(url, query, limit, as_json))
    except InvalidInput as error:
        if error.field == "outcome":
            raise typer.BadParameter(error.detail, param_hint="--outcome") from None
        raise


async def _list(url: str, query: Mapping[str, str | None], limit: int, as_json: bool) -> None:
    async with Api(url) as api:
        found = api.deliveries(query, limit)
        if as_json:
            async for delivery in found:
                print_json(delivery)
        elif rows := [delivery_row(delivery) async for delivery in found]:
            print_table(DELIVERY_COLUMNS, rows)
        else:
            print_note(NOTHING)
