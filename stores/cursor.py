"""Keyset cursors: the place after the last row of a page, opaque to callers."""

from __future__ import annotations

import base64
import binascii

from router_client.errors import InvalidInput


def write_cursor(accepted_at_us: int, event_id: str) -> str:
    """Return the cursor that continues after the row (accepted_at_us, event_id)."""
    return base64.urlsafe_b64encode(f"{accepted_at_us} {event_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """Return the row a cursor stands after. Raises InvalidInput for anything that is not one of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        accepted_at_us, event_id = text.split(" ", 1)
        return int(accepted_at_us), event_id
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("not a cursor of this listing; use the next of the page before", field="cursor") from error


def check_limit(limit: int) -> None:
    """Raise InvalidInput for a page size outside 1..1000."""
    if not 1 <= limit <= 1000:
        raise InvalidInput("from 1 to 1000", field="limit")
