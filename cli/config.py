"""`config`: the settings a node would start with, to see and to check."""

from __future__ import annotations

import typer

from cli.arguments import AsJson, Config, examples
from cli.output import Column, print_json, print_line, print_table
from cli.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="Settings: show, check.")

SHOW_EXAMPLES = (
    "event-router config show",
    "event-router config show --config /etc/event-router.toml --json",
)
CHECK_EXAMPLES = (
    "event-router config check",
    "event-router config check --config /etc/event-router.toml",
)


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_settings(config: Config = None, as_json: AsJson = False) -> None:
    """Show every setting with its value, passwords left out.

    With --json: one document, setting by setting.
    """
    settings = read_settings(config)
    values = settings.redacted()
    if as_json:
        print_json(values)
        return
    given = settings.model_fields_set
    rows = [(f"ER_{name.upper()}", _shown(value), "" if name in given else "default") for name, value in values.items()]
    print_table((Column("SETTING", whole=True), Column("VALUE"), Column("FROM", style="dim")), rows)


@app.command("check", epilog=examples(*CHECK_EXAMPLES))
def check_settings(config: Config = None, as_json: AsJson = False) -> None:
    """Check the settings without starting anything.

    Every fault is listed with its key, and the exit code is 2. With --json:
    {"ok": true, "command": "serve" or "dev"}.
    """
    command = "dev" if read_settings(config).redis_url is None else "serve"
    if as_json:
        print_json({"ok": True, "command": command})
    else:
        note = " (ER_REDIS_URL is not set)" if command == "dev" else ""
        print_line(f"the settings are good for `event-router {command}`{note}")


def _shown(value: object) -> object:
    return "-" if value is None or value == () else value
