"""`auth keys`: API keys, to make, list, rotate and revoke."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, ahead, examples
from cli.foreground import run
from cli.output import print_json, print_line, print_note, print_table
from cli.rows import KEY_COLUMNS, key_row

app = typer.Typer(no_args_is_help=True, help="API keys: create, list, rotate, revoke.")

CREATE_EXAMPLES = (
    "event-router auth keys create root --policy admin --database $ER_DATABASE_URL",
    "event-router auth keys create billing --policy orders --policy reader",
    "event-router auth keys create ci --policy publisher --expires 90d --json",
)
LIST_EXAMPLES = ("event-router auth keys list", "event-router auth keys list --json | jq -r .id")
ROTATE_EXAMPLES = (
    "event-router auth keys rotate 5f0c2a9be1d34477",
    "event-router auth keys rotate 5f0c2a9be1d34477 --grace 3600",
)
REVOKE_EXAMPLES = ("event-router auth keys revoke 5f0c2a9be1d34477",)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The id of the key: the part after er_.")]


@app.command("create", epilog=examples(*CREATE_EXAMPLES))
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its principal is key:NAME.")],
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", metavar="NAME", help="A policy it has; may be repeated.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="RFC 3339, or in so long (90s, 15m, 2h, 7d).")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="URL", help="Make it in this database: the first key needs no node."),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make an API key, and show it this once.

    It may do what its policies allow; you cannot give what you do not have.
    With --json: the key, one document.
    """
    end = ahead(expires, "--expires")
    body = {"name": name, "policies": policies or [], "expires_at": end.isoformat() if end else None}
    if database is None:
        made = run(_call(url, "keys", method="POST", body=body))
    else:
        # Loaded here, as no other of these commands needs what a node is made of.
        from router_node.secured import make_key

        made = run(make_key(database, body))
    _show_once(made, as_json)


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_keys(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the keys, those that have ended among them.

    With --json: one key a line.
    """
    keys = run(_keys(url))
    if as_json:
        for key in keys:
            print_json(key)
    elif keys:
        print_table(KEY_COLUMNS, map(key_row, keys))
    else:
        print_note("no keys")


@app.command("rotate", epilog=examples(*ROTATE_EXAMPLES))
def rotate_key(
    key_id: KeyId,
    grace: Annotated[float, typer.Option("--grace", min=0, help="Seconds for which the old secret is good too.")] = 0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, and show it this once.

    Connections made with the old secret end with it. With --json: the key, one
    document.
    """
    _show_once(run(_call(url, "keys", key_id, "rotate", method="POST", body={"grace_s": grace})), as_json)


@app.command("revoke", epilog=examples(*REVOKE_EXAMPLES))
def revoke_key(key_id: KeyId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """End a key, and all connections made with it.

    With --json: the key, one document.
    """
    revoked = run(_call(url, "keys", key_id, method="DELETE"))
    if as_json:
        print_json(revoked)
    else:
        print_line(f"{key_id} ({revoked['name']}) is revoked")


def _show_once(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    print_line(key["key"])
    print_note(f"key:{key['name']}, {', '.join(key['policies']) or 'no policies'}; it is not shown again")


async def _call(url: str, *path: str, method: str, body: object = None) -> Any:
    async with Api(url) as api:
        return await api.call(method, *path, body=body)


async def _keys(url: str) -> list[dict[str, Any]]:
    async with Api(url) as api:
        return [key async for key in api.api_keys()]
