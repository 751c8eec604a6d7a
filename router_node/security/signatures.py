"""Standard Webhooks signatures: HMAC-SHA256 over ``id.timestamp.body``, made and checked.

The secret's format and the digest are the ``standardwebhooks`` library's. Checking is done here, because the library
reads the clock itself and fails with stray exceptions on malformed headers.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook

from router_client.errors import EventRouterError, InvalidInput

TOLERANCE_S = 300

_SECRET = re.compile(r"(whsec_)?[A-Za-z0-9+/]{2,}={0,2}")
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,10}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class BadSignature(EventRouterError):
    """A message that was not signed with the secret, or not just now."""

    code, title, status = "bad_signature", "Bad signature", 401


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers that sign ``body``; ``timestamp`` is in seconds since 1970.

    ``secret`` is base64 of at least one byte, with or without the prefix ``whsec_`` and padding.
    Raises InvalidInput for a secret, id, timestamp or body (which must be UTF-8) that cannot be used.
    """
    if not message_id or _CONTROL.search(message_id):
        raise InvalidInput("must be text without control characters, and not empty", field="webhook-id")
    if not 0 <= timestamp < 10**11:
        raise InvalidInput("must be seconds since 1970", field="webhook-timestamp")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": _signature(secret, message_id, timestamp, body),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Return when one of the v1 signatures in ``headers`` is right and at most 300 s away from ``now``.

    ``now`` is in seconds since 1970, header names may have any case.
    Raises BadSignature otherwise, its ``field`` the header at fault, and InvalidInput for an unusable secret.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not lowered.get(name):
            raise BadSignature("is missing", field=name)
    timestamp = lowered["webhook-timestamp"]
    if not _TIMESTAMP.fullmatch(timestamp):
        raise BadSignature("must be seconds since 1970", field="webhook-timestamp")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise BadSignature(f"is more than {TOLERANCE_S} s from now", field="webhook-timestamp")
    expected = _signature(secret, lowered["webhook-id"], int(timestamp), body).encode()
    given = [signature.encode("utf-8", "replace") for signature in lowered["webhook-signature"].split(" ")]
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise BadSignature("no signature of version v1 fits", field="webhook-signature")


def _signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    if not _SECRET.fullmatch(secret):
        raise InvalidInput("must be base64 of at least one byte, after an optional whsec_", field="secret")
    try:
        return str(Webhook(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body.decode()))
    except UnicodeError as error:
        raise InvalidInput("must be UTF-8", field="body") from error
    except ValueError as error:
        raise InvalidInput("is not base64", field="secret") from error
