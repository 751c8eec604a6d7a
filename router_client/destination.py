"""Where a subscription's events go: to consumers that connect, or to a webhook that is called. See docs/webhooks.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from router_client.errors import InvalidInput

SECRET_SHOWN = "********"  # noqa: S105 - what is shown in place of a secret
MAX_URL_CHARS, MAX_HEADERS, MAX_HEADER_CHARS, MAX_SECRETS = 2000, 20, 1000, 3
MAX_CONCURRENCY, MAX_RATE, MAX_TIMEOUT_S = 100, 10_000, 120
_SECRET = re.compile(r"(whsec_)?[A-Za-z0-9+/]{32,88}={0,2}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]*")
_RESERVED = re.compile(
    r"(webhook-|ce-|content-|transfer-|host$|connection$|expect$|upgrade$|te$|trailer$|traceparent$)", re.I
)

_WEBHOOK: dict[str, Any] = {
    "secret": None,
    "mode": "structured",
    "concurrency": 10,
    "rate": None,
    "timeout_s": 15.0,
    "headers": {},
    "retry_on": [],
}


def check_destination(value: object, name: str) -> dict[str, Any]:
    """Return a destination with every default spelled out. Raises InvalidInput naming the member at fault."""
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object", field=name)
    kind = value.get("kind")
    if kind not in ("consumer", "webhook"):
        raise InvalidInput("one of consumer, webhook", field=f"{name}.kind")
    checks = _CHECKS if kind == "webhook" else {}
    for key in value:
        if key != "kind" and key not in checks:
            raise InvalidInput("unknown member", field=f"{name}.{key}")
    if kind == "consumer":
        return {"kind": kind}
    if value.get("url") is None:
        raise InvalidInput("is required: where to send events", field=f"{name}.url")
    given = {key: member for key, member in value.items() if member is not None}
    return {
        "kind": kind,
        **_WEBHOOK,
        **{key: checks[key](member, f"{name}.{key}") for key, member in given.items() if key != "kind"},
    }


def shown(destination: Mapping[str, Any]) -> dict[str, Any]:
    """Return a destination without its secrets, as it is shown to people."""
    secret = destination.get("secret")
    hidden = [SECRET_SHOWN] * len(secret) if isinstance(secret, list) else SECRET_SHOWN
    return {**destination, "secret": hidden} if secret is not None else dict(destination)


def keep_secret(body: object, before: Mapping[str, Any]) -> object:
    """Return a subscription's body in which a secret that was only shown is the one kept ``before``."""
    if not isinstance(body, dict) or not isinstance(body.get("destination"), dict):
        return body
    secret = body["destination"].get("secret")
    if secret == SECRET_SHOWN or (isinstance(secret, list) and secret and set(map(str, secret)) == {SECRET_SHOWN}):
        return {**body, "destination": {**body["destination"], "secret": before.get("secret")}}
    return body


def _url(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_URL_CHARS or not value.isascii() or " " in value:
        raise InvalidInput(f"an https:// URL of at most {MAX_URL_CHARS} ASCII characters", field=name)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"is not a URL: {error}", field=name) from error
    if parts.scheme not in ("https", "http") or not host:
        raise InvalidInput("must start with https://, and name a host", field=name)
    if parts.username or parts.password:
        raise InvalidInput("may not hold a user or a password; use a header, or the signature", field=name)
    if parts.fragment or any(ord(char) < 0x21 for char in value):
        raise InvalidInput("may hold neither a fragment nor control characters", field=name)
    return value


def _secret(value: object, name: str) -> str | list[str]:
    secrets = value if isinstance(value, list) else [value]
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise InvalidInput(f"one secret, or up to {MAX_SECRETS} while they are rotated", field=name)
    for secret in secrets:
        if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
            raise InvalidInput("whsec_ and base64 of 24 to 64 bytes, as Standard Webhooks says", field=name)
    return value if isinstance(value, list) else str(value)


def _mode(value: object, name: str) -> str:
    if value not in ("structured", "binary"):
        raise InvalidInput("one of structured, binary (of CloudEvents)", field=name)
    return str(value)


def _number(low: float, high: float) -> Callable[[object, str], float]:
    def check(value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidInput(f"a number from {low:g} to {high:g}", field=name)
        return float(value)

    return check


def _concurrency(value: object, name: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_CONCURRENCY:
        raise InvalidInput(f"an integer from 1 to {MAX_CONCURRENCY}", field=name)
    return value


def _headers(value: object, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise InvalidInput(f"an object of at most {MAX_HEADERS} headers", field=name)
    for key, text in value.items():
        if not isinstance(key, str) or not _HEADER.fullmatch(key) or _RESERVED.match(key):
            raise InvalidInput("is no header that may be set", field=f"{name}.{key}")
        if not isinstance(text, str) or len(text) > MAX_HEADER_CHARS or not _VALUE.fullmatch(text):
            raise InvalidInput(f"at most {MAX_HEADER_CHARS} printable ASCII characters", field=f"{name}.{key}")
    return value


def _statuses(value: object, name: str) -> list[int]:
    if not isinstance(value, list) or not all(type(each) is int and 300 <= each <= 499 for each in value):
        raise InvalidInput("a list of HTTP statuses from 300 to 499", field=name)
    return sorted(set(value))


_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "url": _url,
    "secret": _secret,
    "mode": _mode,
    "concurrency": _concurrency,
    "rate": _number(0.01, MAX_RATE),
    "timeout_s": _number(0.1, MAX_TIMEOUT_S),
    "headers": _headers,
    "retry_on": _statuses,
}
