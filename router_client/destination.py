"""Where a subscription's events go: to consumers that connect, to a webhook that is called, or to a Kafka topic.

See docs/webhooks.md and docs/kafka.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit

from router_client.errors import InvalidInput
from router_client.kafka.url import check_brokers, check_kafka_topic

HIDDEN = "********"
"""What is shown in place of a secret, or of the value of a header."""
MAX_URL_CHARS, MAX_HEADERS, MAX_HEADER_CHARS, MAX_SECRETS = 2000, 20, 1000, 3
MAX_CONCURRENCY, MAX_RATE, MAX_TIMEOUT_S = 100, 10_000, 120
MAX_KAFKA_CONCURRENCY = 10_000
_SECRET_BYTES = range(24, 65)
_HOST = re.compile(r"(?!.{254})(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}")
_NUMBER_LAST = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]*")
_RESERVED = re.compile(
    r"(webhook-|ce-|content-|transfer-|proxy-|host$|connection$|keep-alive$|expect$|upgrade$|te$|trailer$|accept-encoding$"
    r"|traceparent$|tracestate$)",
    re.I,
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

_KAFKA: dict[str, Any] = {
    "bootstrap": None,
    "format": "event",
    "mode": "structured",
    "key": "correlation_id",
    "concurrency": 1000,
    "timeout_s": 15.0,
}


def check_destination(value: object, name: str) -> dict[str, Any]:
    """Return a destination with every default spelled out. Raises InvalidInput naming the member at fault."""
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object", field=name)
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidInput(f"one of {', '.join(_KINDS)}", field=f"{name}.kind")
    defaults, checks, required = _KINDS[kind]
    for key in value:
        if key != "kind" and key not in checks:
            raise InvalidInput("unknown member", field=f"{name}.{key}")
    for key, what in required.items():
        if value.get(key) is None:
            raise InvalidInput(f"is required: {what}", field=f"{name}.{key}")
    given = {key: member for key, member in value.items() if member is not None}
    return {
        "kind": kind,
        **defaults,
        **{key: checks[key](member, f"{name}.{key}") for key, member in given.items() if key != "kind"},
    }


def shown(destination: Mapping[str, Any]) -> dict[str, Any]:
    """Return a destination as it is shown to people: ``HIDDEN`` stands for secrets and for the values of headers."""
    hidden = dict(destination)
    secret = destination.get("secret")
    if secret is not None:
        hidden["secret"] = [HIDDEN] * len(secret) if isinstance(secret, list) else HIDDEN
    if "headers" in destination:
        hidden["headers"] = dict.fromkeys(destination["headers"], HIDDEN)
    return hidden


def keep_hidden(body: object, before: Mapping[str, Any]) -> object:
    """Return a subscription's body in which what was only shown as ``HIDDEN`` is what it was ``before``.

    In a list of secrets, each ``HIDDEN`` is the next of the earlier ones. A header's value is kept while scheme, host
    and port stay: nobody is to be sent a credential that was meant for another.
    Raises InvalidInput when there is nothing to keep.
    """
    given = body.get("destination") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(given, dict):
        return body
    kept, earlier = dict(given), before.get("secret")
    if given.get("secret") == HIDDEN:
        kept["secret"] = earlier or _nothing("secret")
    elif isinstance(given.get("secret"), list):
        one_by_one = iter(earlier if isinstance(earlier, list) else [earlier])
        kept["secret"] = [(next(one_by_one, None) or _nothing("secret")) if x == HIDDEN else x for x in given["secret"]]
    if isinstance(given.get("headers"), dict):
        headers = before.get("headers", {}) if _origin(given.get("url")) == _origin(before.get("url")) else {}
        kept["headers"] = {
            key: (headers.get(key) or _nothing(f"headers.{key}")) if value == HIDDEN else value
            for key, value in given["headers"].items()
        }
    return {**body, "destination": kept}


def _nothing(member: str) -> Any:
    raise InvalidInput(
        f"{HIDDEN} keeps what is there, and there is nothing; give it anew", field=f"destination.{member}"
    )


def _origin(url: object) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return None
    return (parts.scheme, parts.netloc.lower()) if parts is not None else None


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
    if parts.fragment or "\\" in value or any(not 0x21 <= ord(char) <= 0x7E for char in value):
        raise InvalidInput("may hold neither a fragment nor backslashes nor control characters", field=name)
    if not _is_host(host, parts.netloc):
        raise InvalidInput(f"{host} is no host name, and no address written in full", field=name)
    return value


def _is_host(host: str, netloc: str) -> bool:
    """Tell whether a host is a name or an address; 127.1 and 0x7f000001 are neither, though systems take them."""
    try:
        if netloc.startswith("["):
            IPv6Address(host)
            return re.fullmatch(r"\[[^]%]+\](:[0-9]+)?", netloc) is not None
        if _NUMBER_LAST.fullmatch(host):
            IPv4Address(host)
    except ValueError:
        return False
    return _HOST.fullmatch(host) is not None


def _secret(value: object, name: str) -> str | list[str]:
    secrets = value if isinstance(value, list) else [value]
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise InvalidInput(f"one secret, or up to {MAX_SECRETS} while they are rotated", field=name)
    for secret in secrets:
        if not isinstance(secret, str) or _length_of(secret) not in _SECRET_BYTES:
            raise InvalidInput("whsec_ and base64 of 24 to 64 bytes, as Standard Webhooks says", field=name)
    return value if isinstance(value, list) else str(value)


def _length_of(secret: str) -> int:
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return 0


def _one_of(*choices: str) -> Callable[[object, str], str]:
    def check(value: object, name: str) -> str:
        if value not in choices:
            raise InvalidInput(f"one of {', '.join(choices)}", field=name)
        return str(value)

    return check


def _number(low: float, high: float) -> Callable[[object, str], float]:
    def check(value: object, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidInput(f"a number from {low:g} to {high:g}", field=name)
        return float(value)

    return check


def _integer(low: int, high: int) -> Callable[[object, str], int]:
    def check(value: object, name: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise InvalidInput(f"an integer from {low} to {high}", field=name)
        return value

    return check


def _bootstrap(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput("brokers are host:port, separated by commas", field=name)
    return ",".join(check_brokers(value, name))


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


_WEBHOOK_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "url": _url,
    "secret": _secret,
    "mode": _one_of("structured", "binary"),
    "concurrency": _integer(1, MAX_CONCURRENCY),
    "rate": _number(0.01, MAX_RATE),
    "timeout_s": _number(0.1, MAX_TIMEOUT_S),
    "headers": _headers,
    "retry_on": _statuses,
}
_KAFKA_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "bootstrap": _bootstrap,
    "topic": check_kafka_topic,
    "format": _one_of("event", "cloudevent"),
    "mode": _one_of("structured", "binary"),
    "key": _one_of("correlation_id", "id", "type", "source", "none"),
    "concurrency": _integer(1, MAX_KAFKA_CONCURRENCY),
    "timeout_s": _number(0.1, MAX_TIMEOUT_S),
}
_KINDS: dict[str, tuple[dict[str, Any], dict[str, Callable[[object, str], Any]], dict[str, str]]] = {
    "consumer": ({}, {}, {}),
    "webhook": (_WEBHOOK, _WEBHOOK_CHECKS, {"url": "where to send events"}),
    "kafka": (_KAFKA, _KAFKA_CHECKS, {"topic": "the Kafka topic to send events to"}),
}
"""Of each kind the members' defaults, their checks, and which are required, with what they are."""
