"""`auth policies`: what may be done, to list, show, put and delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, examples, json_object
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_table
from cli.rows import POLICY_COLUMNS, policy_row

app = typer.Typer(no_args_is_help=True, help="Policies: list, show, put, delete.")

LIST_EXAMPLES = ("event-router auth policies list", "event-router auth policies list --json | jq -r .name")
SHOW_EXAMPLES = ("event-router auth policies show orders",)
PUT_EXAMPLES = (
    "event-router auth policies put a --publish 'a.>' --limit publish_per_s=50",
    "event-router auth policies put scan --publish 'scans.*' --member 'cert:scan-*'",
    "event-router auth policies put orders --file orders.json",
)
DELETE_EXAMPLES = ("event-router auth policies delete orders",)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the policy.")]
Patterns = list[str] | None


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_policies(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the policies, built in and made.

    With --json: one policy a line.
    """
    policies = run(_call(url, "policies", method="GET"))["policies"]
    if as_json:
        for policy in policies:
            print_json(policy)
    else:
        print_table(POLICY_COLUMNS, map(policy_row, policies))


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_policy(name: Name, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one policy.

    With --json: the policy, one document.
    """
    policy = run(_call(url, "policies", name, method="GET"))
    if as_json:
        print_json(policy)
    else:
        print_details(policy.items())


@app.command("put", epilog=examples(*PUT_EXAMPLES))
def put_policy(
    name: Name,
    publish: Annotated[Patterns, typer.Option("--publish", metavar="PATTERN", help="May publish these.")] = None,
    subscribe: Annotated[Patterns, typer.Option("--subscribe", metavar="PATTERN", help="May subscribe to.")] = None,
    read: Annotated[Patterns, typer.Option("--read", metavar="PATTERN", help="May read stored events of.")] = None,
    dead_letters: Annotated[
        Patterns, typer.Option("--dead-letters", metavar="PATTERN", help="May handle dead letters of.")
    ] = None,
    manage: Annotated[str | None, typer.Option("--manage", help="read or write the cluster, keys, policies.")] = None,
    members: Annotated[
        Patterns, typer.Option("--member", metavar="PRINCIPAL", help="Has it; * stands for any text.")
    ] = None,
    limits: Annotated[
        Patterns, typer.Option("--limit", metavar="NAME=N", help="Such as publish_per_s=50 or connections=10.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", exists=True, dir_okay=False, help="JSON of the whole; options go before.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a policy, or replace it.

    Each option may be repeated. It reaches who is connected at once. With
    --json: the policy, one document.
    """
    body = json_object(file.read_text(encoding="utf-8"), "--file") if file is not None else {}
    given = {
        "publish": publish,
        "subscribe": subscribe,
        "events": read,
        "dead_letters": dead_letters,
        "manage": manage,
        "members": members,
        "limits": _limits(limits or []) or None,
    }
    body |= {member: value for member, value in given.items() if value}
    found = run(_call(url, "policies", name, method="PUT", body=body))
    if as_json:
        print_json(found)
    else:
        print_line(f"policy {name} is in force")


@app.command("delete", epilog=examples(*DELETE_EXAMPLES))
def delete_policy(name: Name, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Delete a policy that no key names.

    With --json: {"deleted": NAME}.
    """
    run(_call(url, "policies", name, method="DELETE"))
    if as_json:
        print_json({"deleted": name})
    else:
        print_line(f"policy {name} is deleted")


def _limits(texts: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name] = int(number) if number.isdecimal() else float(number)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not like publish_per_s=50", param_hint="--limit") from None
    return found


async def _call(url: str, *path: str, method: str, body: object = None) -> Any:
    async with Api(url) as api:
        return await api.call(method, *path, body=body)
