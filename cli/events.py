"""`events`: what the router has stored, to list, to look at and to follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import orjson
import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, examples, json_object, moment
from cli.deliveries import NOTHING
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_note, print_table
from cli.rows import EVENT_COLUMNS, HISTORY_COLUMNS, LETTER_COLUMNS, event_row, history_row, letter_row

app = typer.Typer(no_args_is_help=True, help="Stored events: list, show, trace, deliveries.")

LIST_EXAMPLES = (
    "event-router events list --type 'orders.>' --since 15m",
    "event-router events list --correlation-id order-7 --limit 500",
    'event-router events list --payload \'{"carrier": "UA"}\' --json',
)
SHOW_EXAMPLES = ("event-router events show 019ab1f0-7d0c-7cc1-b4f6-3c54d4c0f7a5",)
TRACE_EXAMPLES = ("event-router events trace 019ab1f0-7d0c-7cc1-b4f6-3c54d4c0f7a5",)
DELIVERIES_EXAMPLES = ("event-router events deliveries 019ab1f0-7d0c-7cc1-b4f6-3c54d4c0f7a5",)

EventId = Annotated[str, typer.Argument(metavar="ID", help="The id of the event.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="Accepted then or later: RFC 3339, or so long ago (90s, 15m, 2h, 7d)."
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Accepted before then.")]
Payload = Annotated[
    str | None, typer.Option("--payload", metavar="JSON", help="An object that the payload must contain.")
]


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_events(
    topic: Annotated[str | None, typer.Option("--type", metavar="PATTERN", help="A topic, or a pattern.")] = None,
    correlation_id: Annotated[str | None, typer.Option("--correlation-id", metavar="KEY", help="Of this key.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Of this source.")] = None,
    since: Since = None,
    until: Until = None,
    payload: Payload = None,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List stored events, newest first.

    An event appears here a moment after it was accepted. With --json: one event
    object a line.
    """
    start, end = moment(since, "--since"), moment(until, "--until")
    query = {
        "type": topic,
        "correlation_id": correlation_id,
        "source": source,
        "from": start.isoformat() if start else None,
        "to": end.isoformat() if end else None,
        "payload": orjson.dumps(json_object(payload, "--payload")).decode() if payload is not None else None,
    }
    run(_list(url, query, limit, as_json))


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_event(event_id: EventId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one stored event with its payload and metadata.

    With --json: the event object, one document.
    """
    event = run(_event(url, event_id))
    if as_json:
        print_json(event)
    else:
        print_details(event.items())


@app.command("trace", epilog=examples(*TRACE_EXAMPLES))
def trace_event(event_id: EventId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Follow one event: its key's other events, its dead letters.

    With --json: one document with event, accepted_at, correlation, dead_letters
    and complete.
    """
    trace = run(_trace(url, event_id))
    if as_json:
        print_json(trace)
        return
    event = trace["event"]
    print_details([("event", event["id"]), ("type", event["type"]), ("accepted", trace["accepted_at"])])
    print_line(f"\nevents of key {event['correlation_id']}, in order of acceptance", "bold")
    print_table(EVENT_COLUMNS, map(event_row, trace["correlation"]))
    if trace["dead_letters"]:
        print_line("\nnot delivered", "bold")
        print_table(LETTER_COLUMNS, map(letter_row, trace["dead_letters"]))
    else:
        print_line("\nno dead letters", "green")
    if not trace["complete"]:
        print_note("there is more than is shown; narrow it with `events list` and `dlq list`")


@app.command("deliveries", epilog=examples(*DELIVERIES_EXAMPLES))
def list_deliveries(event_id: EventId, limit: Limit = 100, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the attempts to deliver one event, oldest first.

    They are in the delivery log for as long as the nodes keep it. With --json:
    one attempt a line.
    """
    found = run(_deliveries(url, event_id, limit))
    if as_json:
        for delivery in found:
            print_json(delivery)
    elif found:
        print_table(HISTORY_COLUMNS, map(history_row, found))
    else:
        print_note(NOTHING)


async def _list(url: str, query: Mapping[str, str | None], limit: int, as_json: bool) -> None:
    async with Api(url) as api:
        found = api.events(query, limit)
        if as_json:
            async for event in found:
                print_json(event)
        else:
            await _table(found)


async def _table(found: AsyncIterator[dict[str, Any]]) -> None:
    events = [event async for event in found]
    if events:
        print_table(EVENT_COLUMNS, map(event_row, events))
    else:
        print_note("no stored event fits")


async def _event(url: str, event_id: str) -> Any:
    async with Api(url) as api:
        return await api.event(event_id)


async def _deliveries(url: str, event_id: str, limit: int) -> list[dict[str, Any]]:
    async with Api(url) as api:
        return [delivery async for delivery in api.deliveries_of(event_id, limit)]


async def _trace(url: str, event_id: str) -> Any:
    async with Api(url) as api:
        return await api.trace(event_id)
