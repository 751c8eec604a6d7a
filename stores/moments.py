"""Times as the stores keep them."""

from __future__ import annotations

from datetime import datetime


def micros(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond
