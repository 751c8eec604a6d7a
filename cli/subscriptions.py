"""`subscriptions`: durable subscriptions, to list, look at, make, delete, pause and move in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, Yes, examples, json_object, moment
from cli.failures import Failure
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_note, print_table
from cli.rows import SUBSCRIPTION_COLUMNS, subscription_row

app = typer.Typer(no_args_is_help=True, help="Durable subscriptions: list, show, put, delete, pause, resume, seek.")

LIST_EXAMPLES = (
    "event-router subscriptions list",
    "event-router subscriptions list --json | jq -r 'select(.backlog > 9) | .name'",
)
SHOW_EXAMPLES = ("event-router subscriptions show billing",)
PUT_EXAMPLES = (
    "event-router subscriptions put billing --topic 'orders.>'",
    "event-router subscriptions put billing --file billing.json",
    "event-router subscriptions put billing --file billing.json --if-match 42",
    "event-router subscriptions put billing -t 'a.>' --set '{\"ordering\": \"none\"}'",
)
DELETE_EXAMPLES = ("event-router subscriptions delete billing --discard-backlog",)
PAUSE_EXAMPLES = ("event-router subscriptions pause billing --reason 'maintenance until noon'",)
RESUME_EXAMPLES = ("event-router subscriptions resume billing",)
SEEK_EXAMPLES = (
    "event-router subscriptions seek billing --to 2h",
    "event-router subscriptions seek billing --to 2026-01-01T00:00:00Z --yes",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the subscription.")]
IfMatch = Annotated[
    int | None,
    typer.Option("--if-match", metavar="REVISION", min=0, help="Only at this revision; 0: only if there is none."),
]


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_subscriptions(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the subscriptions with their backlogs.

    With --json: one subscription a line.
    """
    if as_json:
        run(_each(url, print_json))
    else:
        rows: list[list[object]] = []
        run(_each(url, lambda found: rows.append(subscription_row(found))))
        print_table(SUBSCRIPTION_COLUMNS, rows)


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_subscription(name: Name, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one subscription and what waits for it.

    With --json: the subscription, one document.
    """
    found = run(_call(url, "subscriptions", name))
    if as_json:
        print_json(found)
    else:
        print_details(found.items())


@app.command("put", epilog=examples(*PUT_EXAMPLES))
def put_subscription(
    name: Name,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", "-t", metavar="PATTERN", help="Topics to take; may be repeated.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", metavar="JSON", help="A filter.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A file with the subscription, a JSON object.")
    ] = None,
    more: Annotated[str | None, typer.Option("--set", metavar="JSON", help="Further members, a JSON object.")] = None,
    revision: IfMatch = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Create a subscription, or replace its settings.

    Its backlog stays, and so does a pause. With --if-match only if nobody has
    changed it since: `show` tells the revision. With --json: the subscription
    in full.
    """
    body = json_object(file.read_text(), "--file") if file is not None else {}
    body |= json_object(more, "--set") if more is not None else {}
    if topics:
        body["topics"] = topics
    if where is not None:
        body["filter"] = json_object(where, "--where")
    found = run(_call(url, "subscriptions", name, method="PUT", body=body, headers=_match(revision)))
    if as_json:
        print_json(found)
    else:
        print_line(f"{name} takes {', '.join(found['topics'])}")


@app.command("delete", epilog=examples(*DELETE_EXAMPLES))
def delete_subscription(
    name: Name,
    discard: Annotated[bool, typer.Option("--discard-backlog", help="Lose what it has not delivered.")] = False,
    revision: IfMatch = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Delete a subscription.

    One with a backlog only with --discard-backlog. With --json: {"deleted": NAME}.
    """
    query = {"backlog": "discard"} if discard else None
    run(_call(url, "subscriptions", name, method="DELETE", query=query, headers=_match(revision)))
    if as_json:
        print_json({"deleted": name})
    else:
        print_line(f"{name} is deleted")


@app.command("pause", epilog=examples(*PAUSE_EXAMPLES))
def pause_subscription(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Begin no more deliveries, on any node.

    What is under way is settled, what comes waits. With --json: the
    subscription in full.
    """
    _told(run(_call(url, "subscriptions", name, "pause", method="POST", body={"reason": reason})), "paused", as_json)


@app.command("resume", epilog=examples(*RESUME_EXAMPLES))
def resume_subscription(name: Name, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Deliver again what has waited, and what comes.

    With --json: the subscription in full.
    """
    _told(run(_call(url, "subscriptions", name, "resume", method="POST", body={})), "delivering", as_json)


@app.command("seek", epilog=examples(*SEEK_EXAMPLES))
def seek_subscription(
    name: Name,
    to: Annotated[str, typer.Option("--to", metavar="TIME", help="RFC 3339, or so long ago (90s, 15m, 2h, 7d).")],
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Pass over the backlog, and replay from a time on.

    With --json: {"skip_before", "skip_before_us", "replay": ID}.
    """
    time = moment(to, "--to")
    if not yes and not typer.confirm(f"pass over what {name} has not delivered, and replay from {time}?"):
        raise Failure("nothing was changed", "--yes does not ask")
    body = {"to": time.isoformat()} if time is not None else {}
    found = run(_call(url, "subscriptions", name, "seek", method="POST", body=body))
    if as_json:
        print_json(found)
    else:
        print_line(f"replaying to {name}: {found['replay']}")
        print_note(f"watch it: event-router replay --resume {found['replay']}")


def _told(found: dict[str, Any], state: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_line(f"{found['name']} is {state}")


async def _each(url: str, show: Callable[[dict[str, Any]], None]) -> None:
    async with Api(url) as api:
        async for found in api.subscriptions():
            show(found)


async def _call(
    url: str,
    *path: str,
    method: str = "GET",
    body: object = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    async with Api(url) as api:
        return await api.call(method, *path, body=body, query=query, headers=headers)


def _match(revision: int | None) -> dict[str, str]:
    if revision is None:
        return {}
    return {"if-match": f'"{revision}"'} if revision else {"if-none-match": "*"}
