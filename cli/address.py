"""Where the node is: one address given, the URL of each protocol made from it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import typer

DEFAULT_URL = "http://127.0.0.1:8080"

_HTTP = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_WEBSOCKET = {"http": "ws", "https": "wss"}


def http_url(url: str) -> str:
    """Return the base of the HTTP API for ``url``, without a slash at the end.

    ``url`` may be given as http, https, ws or wss; a path is kept (a node behind a prefix).
    Raises BadParameter for anything else.
    """
    parts = urlsplit(url)
    scheme = _HTTP.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise typer.BadParameter(f"{url!r} is not an address such as {DEFAULT_URL}", param_hint="--url (ER_URL)")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def websocket_url(url: str) -> str:
    """Return the address for the SDK's WebSocket transport. Raises BadParameter as :func:`http_url`."""
    parts = urlsplit(http_url(url))
    return urlunsplit(parts._replace(scheme=_WEBSOCKET[parts.scheme]))
