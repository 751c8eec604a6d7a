"""`filters`: what a filter makes of an event, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import STDIN, AsJson, Url, examples, json_object, text_from
from cli.exits import ExitCode
from cli.explanations import headline, tree
from cli.failures import Failure, explain
from cli.foreground import run
from cli.output import print_json, print_line, print_mark
from router_client.errors import EventRouterError, InvalidInput

app = typer.Typer(no_args_is_help=True, help="Filters: test.")

TEST_EXAMPLES = (
    'event-router filters test --filter \'{"payload.n": {"$gt": 9}}\' --event @e.json',
    "event-router filters test --filter @f.json --event - < event.json",
    "event-router filters test --filter @f.json -t 'orders.>' --event-id 019ab1f0",
    "event-router filters test --subscription billing --event-id 019ab1f0 --json",
)


@app.command("test", epilog=examples(*TEST_EXAMPLES))
def try_filter(
    wanted: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help="The filter; @FILE reads a file, - stdin."),
    ] = None,
    subscription: Annotated[
        str | None, typer.Option("--subscription", "-s", metavar="NAME", help="Instead: all that this one asks for.")
    ] = None,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", "-t", metavar="PATTERN", help="Topics to take; may be repeated.")
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="JSON", help="An event object; @FILE reads a file, - stdin.")
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--event-id", metavar="ID", help="Instead: the stored event of this id.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Try a filter or a subscription against an event.

    Says which condition failed, and what it found. With a filter and an event no
    node is asked. Exit code 0: it matches, 1: it does not, 2: bad input. With
    --json: the answer of POST /v1/filters/test, one document.
    """
    if (wanted is None) == (subscription is None):
        raise typer.BadParameter("give either --filter or --subscription")
    if (event is None) == (event_id is None):
        raise typer.BadParameter("give either --event or --event-id")
    if wanted == event == STDIN:
        raise typer.BadParameter("only one of --filter and --event can come from stdin")
    body: dict[str, Any] = {"subscription": subscription, "event_id": event_id, "topics": topics or None}
    if wanted is not None:
        body["filter"] = json_object(text_from(wanted, "--filter"), "--filter")
    if event is not None:
        body["event"] = json_object(text_from(event, "--event"), "--event")
    answer = _answer(url, {name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(answer)
    else:
        print_line(headline(answer), "green" if answer["matches"] else "red")
        for mark in tree(answer):
            print_mark(mark.text, mark.depth, holds=mark.holds)
    if not answer["matches"]:
        raise typer.Exit(ExitCode.FAILED)


def _answer(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what came of it. Raises Failure with another code than that of an event that does not match."""
    try:
        return _tried_here(body) if "filter" in body and "event" in body else run(_asked(url, body))
    except EventRouterError as error:
        code = ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.UNREACHABLE
        failure = explain(error)
        if failure is None or failure.code is not ExitCode.FAILED:
            raise
        raise Failure(failure.message, failure.next_step, code) from error


def _tried_here(body: dict[str, Any]) -> dict[str, Any]:
    # Loaded here, as most commands need nothing of the node.
    from router_node.routing import filter_trial

    topics = filter_trial.read_topics(body["topics"]) if "topics" in body else ()
    return filter_trial.try_filter(body["filter"], filter_trial.as_kept(body["event"]), topics).to_object()


async def _asked(url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with Api(url) as api:
        found: dict[str, Any] = await api.call("POST", "filters", "test", body=body)
        return found
