"""`replay` and `replays`: stored events delivered again to one subscription."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, examples, json_object, moment
from cli.failures import Failure
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_note, print_table
from cli.rows import REPLAY_COLUMNS, replay_row
from cli.watching import watch_rising

app = typer.Typer(no_args_is_help=True, help="Replays: list, show, cancel; `event-router replay` starts one.")

REPLAY_EXAMPLES = (
    "event-router replay --subscription billing --from 2h",
    "event-router replay -s billing --type 'orders.>' --from 2d --to 1d",
    "event-router replay -s billing --correlation-id order-7 --no-wait",
    "event-router replay --resume 3f2a9c51d0b7e846",
)
REPLAY_EPILOG = examples(*REPLAY_EXAMPLES)
LISTED = 100
LIST_EXAMPLES = ("event-router replays list",)
SHOW_EXAMPLES = ("event-router replays show 3f2a9c51d0b7e846 --json",)
CANCEL_EXAMPLES = ("event-router replays cancel 3f2a9c51d0b7e846",)

ReplayId = Annotated[str, typer.Argument(metavar="ID", help="The id of the replay.")]
Subscription = Annotated[
    str | None, typer.Option("--subscription", "-s", metavar="NAME", help="Who gets the events, and nobody else.")
]
Type = Annotated[str | None, typer.Option("--type", metavar="PATTERN", help="Only events of these topics.")]
Key = Annotated[str | None, typer.Option("--correlation-id", "-k", metavar="KEY", help="Only events of this key.")]
Source = Annotated[str | None, typer.Option("--source", help="Only events of this source.")]
Payload = Annotated[str | None, typer.Option("--payload", metavar="JSON", help="Only events that contain it.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Accepted then or later: RFC 3339, or so long ago (90s, 2h, 7d)."),
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Accepted before then; now, unless given.")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, max=10_000, help="Events a second, at most.")]
WaitOrNot = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, with a bar on a terminal.")]
Resume = Annotated[str | None, typer.Option("--resume", metavar="ID", help="Watch one that was started.")]


def replay(
    subscription: Subscription = None,
    type_: Type = None,
    correlation_id: Key = None,
    source: Source = None,
    payload: Payload = None,
    since: From = None,
    until: To = None,
    rate: Rate = 500,
    wait: WaitOrNot = True,
    resume: Resume = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Deliver stored events again to one subscription.

    Those it matches, in the order they were accepted, marked by
    metadata.replayed, behind what waits for it already. The cluster does it,
    and goes on when this command is interrupted or a node dies. With --json:
    the replay, one document.
    """
    if (subscription is None) == (resume is None):
        raise typer.BadParameter("either --subscription to start one, or --resume to watch one")
    if resume is not None:
        found = run(_one(url, resume))
    else:
        times = {"from": moment(since, "--from"), "to": moment(until, "--to")}
        body = {
            "subscription": subscription,
            "type": type_,
            "correlation_id": correlation_id,
            "source": source,
            "payload": json_object(payload, "--payload") if payload is not None else None,
            "rate": rate,
            **{name: time.isoformat() for name, time in times.items() if time is not None},
        }
        found = run(_start(url, body))
    if wait and found["state"] == "running":
        watch_rising(url, f"replay {found['id']}", lambda api: _progress(api, found["id"]))
        found = run(_one(url, found["id"]))
    if as_json:
        print_json(found)
    else:
        _tell(found)
    if found["state"] in ("failed", "cancelled"):
        raise Failure(found["error"] or "it was cancelled", "event-router replays show " + found["id"])


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_replays(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the latest replays, newest first.

    With --json: one replay a line.
    """
    found = run(_list(url))
    if as_json:
        for each in found:
            print_json(each)
    else:
        print_table(REPLAY_COLUMNS, map(replay_row, found))


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_replay(replay_id: ReplayId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one replay: its query, its state, how far it is.

    With --json: the replay, one document.
    """
    found = run(_one(url, replay_id))
    if as_json:
        print_json(found)
    else:
        print_details(found.items())


@app.command("cancel", epilog=examples(*CANCEL_EXAMPLES))
def cancel_replay(replay_id: ReplayId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Stop a replay; what it has queued is still delivered.

    With --json: the replay, one document.
    """
    found = run(_cancel(url, replay_id))
    if as_json:
        print_json(found)
    else:
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    print_line(
        f"replay {found['id']} is {found['state']}: {found['delivered']} delivered, {found['skipped']} not matched"
    )
    if found["state"] == "running":
        print_note(f"watch it: event-router replay --resume {found['id']}")


async def _start(url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with Api(url) as api:
        found: dict[str, Any] = await api.call("POST", "replays", body=body)
        return found


async def _one(url: str, replay_id: str) -> dict[str, Any]:
    async with Api(url) as api:
        found: dict[str, Any] = await api.call("GET", "replays", replay_id)
        return found


async def _list(url: str) -> list[dict[str, Any]]:
    async with Api(url) as api:
        return [each async for each in api.replays(LISTED)]


async def _cancel(url: str, replay_id: str) -> dict[str, Any]:
    async with Api(url) as api:
        found: dict[str, Any] = await api.call("DELETE", "replays", replay_id)
        return found


async def _progress(api: Api, replay_id: str) -> tuple[int, bool]:
    found = await api.call("GET", "replays", replay_id)
    return int(found["delivered"]) + int(found["skipped"]), found["state"] != "running"
