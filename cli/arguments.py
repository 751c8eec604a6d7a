"""Options that several commands share, and the reading of their values."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.address import http_url
from router_client.errors import InvalidInput
from router_client.event import parse_time
from router_client.json_input import loads

STDIN = "-"

_DISTANCE = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _checked_url(value: str) -> str:
    http_url(value)
    return value


Url = Annotated[
    str,
    typer.Option("--url", envvar="ER_URL", help="Address of the node to ask.", callback=_checked_url, metavar="URL"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="ER_CONFIG", help="TOML file of settings; ER_* variables go before it."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is done, with a bar on a terminal.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def examples(*lines: str) -> str:
    """Return the examples of a command as the end of its help."""
    return "\n".join(("Examples:", *("  " + line.replace("[", r"\[") for line in lines)))


def text_from(value: str, option: str) -> str:
    """Return what ``option`` gives: the text itself, a file's for ``@FILE``, or all of stdin for ``-``.

    Raises BadParameter, a usage error, when the file cannot be read.
    """
    if value == STDIN:
        return sys.stdin.read()
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def json_object(text: str, option: str) -> dict[str, Any]:
    """Read the value of ``option`` as a JSON object. Raises BadParameter, a usage error."""
    try:
        value = loads(text, option)
    except InvalidInput as error:
        raise typer.BadParameter(error.detail, param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter("must be a JSON object, such as '{\"amount\": 120}'", param_hint=option)
    return value


def moment(text: str | None, option: str) -> datetime | None:
    """Read a time: RFC 3339, or how long ago (``90s``, ``15m``, ``2h``, ``7d``). Raises BadParameter."""
    return _time(text, option, "how long ago", -1)


def ahead(text: str | None, option: str) -> datetime | None:
    """Read a time: RFC 3339, or in how long (``90s``, ``15m``, ``2h``, ``7d``). Raises BadParameter."""
    return _time(text, option, "in how long", 1)


def _time(text: str | None, option: str, relative: str, sign: int) -> datetime | None:
    if text is None:
        return None
    distance = _DISTANCE.fullmatch(text)
    if distance:
        return datetime.now(UTC) + sign * timedelta(**{_UNITS[distance[2]]: int(distance[1])})
    try:
        return parse_time(text, option)
    except InvalidInput as error:
        raise typer.BadParameter(f"{error.detail}, or {relative}: 90s, 15m, 2h, 7d", param_hint=option) from None
