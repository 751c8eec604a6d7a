"""What the commands show a node of themselves: options of `event-router` itself, before the command, or variables."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from router_client.options import ClientOptions


class Shown(NamedTuple):
    """A token, or the file it is in, and files of TLS."""

    token: str | None
    token_file: Path | None
    ca: str | None
    cert: str | None
    key: str | None


_NOTHING = Shown(None, None, None, None, None)
_SHOWN = ContextVar("shown", default=_NOTHING)

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="ER_TOKEN_FILE", help="File with the API key or token to show; ER_TOKEN has it itself."
    ),
]
Ca = Annotated[str | None, typer.Option("--ca", envvar="ER_CA", help="PEM file of the certificates to trust.")]
Cert = Annotated[str | None, typer.Option("--cert", envvar="ER_CERT", help="PEM file of your own certificate.")]
Key = Annotated[str | None, typer.Option("--key", envvar="ER_KEY", help="PEM file of its key.")]


def client_options(**options: Any) -> ClientOptions:
    """Return the options of a client that shows what this command was given.

    Raises BadParameter, a usage error, for a file that cannot be read.
    """
    shown = _SHOWN.get()
    return ClientOptions(token=_token(shown), ca=shown.ca, cert=shown.cert, key=shown.key, **options)


def show(token_file: Path | None, ca: str | None, cert: str | None, key: str | None) -> None:
    """Have the command that follows show these. The token itself is no option: the list of processes shows those to
    everybody.
    """
    _SHOWN.set(Shown(os.environ.get("ER_TOKEN") or None, token_file, ca, cert, key))


def _token(shown: Shown) -> str | None:
    if shown.token_file is None:
        return shown.token
    try:
        return shown.token_file.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{shown.token_file}: {error}", param_hint="--token-file (ER_TOKEN_FILE)") from None
