"""Keyset cursors: the place after the last row of a page, opaque to callers."""

from __future__ import annotations

import base64

from router_client.errors import InvalidInput

MAX_INTEGER = 2**63 - 1


def write_cursor(accepted_at_us: int, event_id: str) -> str:
    """Return the cursor that continues after the row (accepted_at_us, event_id)."""
    return base64.urlsafe_b64encode(f"{accepted_at_us} {event_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """Return the row a cursor stands after. Raises InvalidInput for anything that is not one of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        accepted_at, event_id = text.split(" ", 1)
        place = int(accepted_at), event_id
    except ValueError as error:
        raise not_a_cursor() from error
    # Decoders are lenient; only what we would have written ourselves is ours.
    if abs(place[0]) > MAX_INTEGER or "\0" in event_id or write_cursor(*place) != cursor:
        raise not_a_cursor()
    return place


def not_a_cursor() -> InvalidInput:
    """Return the error for text that no listing gave out."""
    return InvalidInput("not a cursor of this listing; use the next of the page before", field="cursor")


def check_limit(limit: int) -> None:
    """Raise InvalidInput for a page size outside 1..1000."""
    if not 1 <= limit <= 1000:
        raise InvalidInput("from 1 to 1000", field="limit")
