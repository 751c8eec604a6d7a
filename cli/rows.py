"""How events and dead letters look as rows of a table."""

from __future__ import annotations

from typing import Any

from cli.output import Column, short_time

EVENT_COLUMNS = (Column("ID", whole=True), Column("TIME", whole=True), Column("P"), Column("TYPE"), Column("KEY"))
LETTER_COLUMNS = (
    Column("ID", whole=True),
    Column("DEAD AT", whole=True),
    Column("SUBSCRIPTION"),
    Column("REASON"),
    Column("TRIES"),
    Column("TYPE"),
)


def event_row(event: dict[str, Any]) -> list[object]:
    """Return the row of an event object; the key is left out where it is the event's own id."""
    key = event["correlation_id"]
    return [
        event["id"],
        short_time(event["timestamp"]),
        event["priority"],
        event["type"],
        key if key != event["id"] else "",
    ]


def letter_row(letter: dict[str, Any]) -> list[object]:
    """Return the row of a dead letter."""
    return [
        letter["id"],
        short_time(letter["dead_at"]),
        letter["subscription"],
        letter["reason"],
        letter["attempts"],
        letter["event_type"],
    ]
