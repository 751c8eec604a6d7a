"""The command line `event-router`, put together from a module per noun."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from cli import auth, config, dead_letters, deliveries, events, filters, nodes, partitions, replays, subscriptions
from cli.credentials import Ca, Cert, Key, TokenFile, show
from cli.doctor import DOCTOR_EPILOG, doctor
from cli.failures import Commands
from cli.output import print_line
from cli.publish import EPILOG as PUBLISH_EPILOG
from cli.publish import publish
from cli.replays import REPLAY_EPILOG, replay
from cli.serving import DEV_EPILOG, SERVE_EPILOG, dev, serve
from cli.subscribe import SUBSCRIBE_EPILOG, TAIL_EPILOG, subscribe, tail

app = typer.Typer(
    name="event-router",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Publish events, subscribe to them, and run the nodes that route them.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"event-router {version('event-router')}")
        raise typer.Exit


@app.callback()
def _root(
    token_file: TokenFile = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    show(token_file, ca, cert, key)


app.command(epilog=DEV_EPILOG)(dev)
app.command(epilog=SERVE_EPILOG)(serve)
app.command(epilog=PUBLISH_EPILOG)(publish)
app.command(epilog=SUBSCRIBE_EPILOG)(subscribe)
app.command(epilog=TAIL_EPILOG)(tail)
app.add_typer(events.app, name="events")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(filters.app, name="filters")
app.command(epilog=REPLAY_EPILOG)(replay)
app.add_typer(replays.app, name="replays")
app.add_typer(nodes.app, name="nodes")
app.add_typer(partitions.app, name="partitions")
app.add_typer(auth.app, name="auth")
app.add_typer(config.app, name="config")
app.command(epilog=DOCTOR_EPILOG)(doctor)


def run() -> None:
    """Run the command line with the arguments of this process, and exit."""
    app(prog_name="event-router")


if __name__ == "__main__":
    run()
