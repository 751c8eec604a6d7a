"""`auth`: keys, policies, what one may do, and who did what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import auth_keys, auth_policies
from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, examples, moment
from cli.exits import ExitCode
from cli.foreground import run
from cli.output import print_details, print_json, print_mark, print_note, print_table
from cli.rows import AUDIT_COLUMNS, audit_row

app = typer.Typer(no_args_is_help=True, help="Who may do what: keys, policies, me, can-i, audit.")
app.add_typer(auth_keys.app, name="keys")
app.add_typer(auth_policies.app, name="policies")

ME_EXAMPLES = ("event-router auth me", "event-router auth me --json | jq .policies")
CAN_I_EXAMPLES = (
    "event-router auth can-i publish orders.created",
    "event-router auth can-i subscribe 'orders.>' --as key:billing",
    "event-router auth can-i manage write --json",
)
AUDIT_EXAMPLES = (
    "event-router auth audit --since 1d",
    "event-router auth audit --principal key:billing --limit 1000",
    "event-router auth audit --action key.revoke --json",
)


@app.command("me", epilog=examples(*ME_EXAMPLES))
def who_am_i(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show who the node takes you for, and what you may do.

    With --json: {"principal", "expires_at", "policies", "limits", "allows"}.
    """
    found = run(_get(url, "auth", "me"))
    if as_json:
        print_json(found)
    else:
        print_details(found.items())


@app.command("can-i", epilog=examples(*CAN_I_EXAMPLES))
def can_i(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="publish, subscribe, read, dead-letters or manage.")],
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="A topic or pattern; of manage: read or write.")],
    principal: Annotated[
        str | None, typer.Option("--as", metavar="PRINCIPAL", help="Ask about another, such as key:billing.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask whether you, or another, may do something.

    The exit code is 1 when not. About another may ask who may manage: read.
    What a token of another would claim is not known. With --json:
    {"principal", "action", "topic", "allowed", "by", "policies"}.
    """
    query = {"action": action, "topic": topic} | ({} if principal is None else {"principal": principal})
    found = run(_get(url, "auth", "can-i", query=query))
    if as_json:
        print_json(found)
    elif found["allowed"]:
        print_mark(f"{found['principal']} may {action} {topic}: {', '.join(found['by'])}", 0, holds=True)
    else:
        held = ", ".join(found["policies"]) or "none"
        print_mark(f"{found['principal']} may not {action} {topic}; its policies: {held}", 0, holds=False)
    if not found["allowed"]:
        raise typer.Exit(ExitCode.FAILED)


@app.command("audit", epilog=examples(*AUDIT_EXAMPLES))
def audit(
    principal: Annotated[str | None, typer.Option("--principal", metavar="NAME", help="What this one did.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Such as key.revoke or subscription.put.")] = None,
    object_: Annotated[str | None, typer.Option("--object", metavar="NAME", help="What was done to this.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="RFC 3339, or so long ago.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List who did what, newest first.

    With --json: one entry a line, with its details.
    """
    start, end = moment(since, "--since"), moment(until, "--until")
    conditions = {
        "principal": principal,
        "action": action,
        "object": object_,
        "from": start.isoformat() if start else None,
        "to": end.isoformat() if end else None,
    }
    entries = run(_entries(url, conditions, limit))
    if as_json:
        for entry in entries:
            print_json(entry)
    elif entries:
        print_table(AUDIT_COLUMNS, map(audit_row, entries))
    else:
        print_note("nothing of that is in the audit log")


async def _get(url: str, *path: str, query: dict[str, str] | None = None) -> Any:
    async with Api(url) as api:
        return await api.call("GET", *path, query=query)


async def _entries(url: str, conditions: dict[str, str | None], limit: int) -> list[dict[str, Any]]:
    async with Api(url) as api:
        return [entry async for entry in api.audit(conditions, limit)]
