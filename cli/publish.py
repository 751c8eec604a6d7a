"""`publish`: one event from arguments, or many from a file or stdin."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL, websocket_url
from cli.arguments import STDIN, AsJson, Url, ahead, examples, json_object
from cli.credentials import client_options
from cli.foreground import run
from cli.output import print_json, print_line
from cli.publish_lines import publish_lines
from router_client.client import EventRouterClient
from router_client.errors import InvalidInput
from router_client.event import Event, from_object
from router_client.publishing import MAX_BATCH

# For so long a publish goes on trying when the router is overloaded or the connection was lost, in seconds.
PATIENCE_S = 30.0

EXAMPLES = (
    "event-router publish orders.created '{\"amount\": 120}' --priority 7",
    "event-router publish orders.paid --correlation-id order-7 --source shop",
    "event-router publish reminders.send --deliver-at 2h --expires-at 3h",
    "event-router publish --file events.jsonl --batch 500",
    "event-router events list --json | event-router publish - --url http://b:8080",
)
EPILOG = examples(*EXAMPLES)


class Ack(StrEnum):
    """How safe an event is when the router answers."""

    ACCEPTED = "accepted"
    REPLICATED = "replicated"
    STORED = "stored"


def publish(
    topic: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="The event's type, its topic; - reads events from stdin.")
    ] = None,
    payload: Annotated[
        str | None, typer.Argument(metavar="PAYLOAD", help="The payload, a JSON object; - reads it from stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Publish a file of event objects, one a line; - is stdin.")
    ] = None,
    priority: Annotated[int | None, typer.Option("--priority", "-p", min=0, max=9, help="9 goes first.")] = None,
    correlation_id: Annotated[
        str | None, typer.Option("--correlation-id", "-k", metavar="KEY", help="Events of one key keep their order.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Who says so.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", help="Only for this subscription.")] = None,
    metadata: Annotated[str | None, typer.Option("--metadata", metavar="JSON", help="A JSON object.")] = None,
    deliver_at: Annotated[
        str | None,
        typer.Option("--deliver-at", metavar="TIME", help="Deliver it then: RFC 3339, or in so long (90s, 2h, 7d)."),
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="Do not deliver it after that time.")
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="The event's id; publishing it again routes nothing.")
    ] = None,
    ack: Annotated[Ack, typer.Option("--ack", help="How safe it must be before the answer.")] = Ack.ACCEPTED,
    batch: Annotated[int, typer.Option("--batch", min=1, max=MAX_BATCH, help="Events sent together, of many.")] = 100,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Publish one event, or many from a file or stdin.

    Of many, each line is an event object; the options fill in what a line
    leaves out. Lines that fail are reported with their number, the others are
    published, and the exit code is 5. With --json: one result a line.
    """
    members: dict[str, Any] = {
        "priority": priority,
        "correlation_id": correlation_id,
        "source": source,
        "target": target,
        "metadata": json_object(metadata, "--metadata") if metadata is not None else None,
        "deliver_at": ahead(deliver_at, "--deliver-at"),
        "expires_at": ahead(expires_at, "--expires-at"),
        "id": event_id,
    }
    given = {name: value for name, value in members.items() if value is not None}
    if topic == STDIN or file is not None:
        _refuse_beside_lines(topic, payload, file, event_id)
        path = None if file is None or str(file) == STDIN else file
        run(publish_lines(_client(url), path, given, ack=ack.value, batch=batch, as_json=as_json))
    else:
        run(_publish_one(url, _event(topic, payload, given), ack.value, as_json))


def _refuse_beside_lines(topic: str | None, payload: str | None, file: Path | None, event_id: str | None) -> None:
    if payload is not None or (topic is not None and file is not None):
        raise typer.BadParameter("events come either from the arguments or from a file, not from both")
    if event_id is not None:
        raise typer.BadParameter("--id names one event; in a file each line has its own id")


def _event(topic: str | None, payload: str | None, given: dict[str, Any]) -> Event:
    if topic is None:
        raise typer.BadParameter("what to publish? A TYPE, or --file, or - for stdin; --help shows examples")
    text = sys.stdin.read() if payload == STDIN else payload
    try:
        body = json_object(text, "PAYLOAD") if text is not None else {}
        return from_object({**given, "type": topic, "payload": body})
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from None


def _client(url: str) -> EventRouterClient:
    options = client_options(publish_timeout_s=PATIENCE_S, retry_overloaded_s=PATIENCE_S, max_reconnect_s=PATIENCE_S)
    return EventRouterClient(websocket_url(url), options=options)


async def _publish_one(url: str, event: Event, ack: str, as_json: bool) -> None:
    async with _client(url) as client:
        result = await client.publish_event(event, ack=ack)
    if as_json:
        print_json(result._asdict())
    elif result.duplicate:
        print_line(f"{result.id} was published before; nothing was routed")
    else:
        print_line(f"{ack} {result.id} in partition {result.partition}")
