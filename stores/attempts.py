"""What became of each attempt to deliver an event, as the delivery log keeps it, and the log as a Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

Outcome = Literal["acked", "failed", "timed_out", "disconnected", "rejected", "expired"]


class Attempt(NamedTuple):
    """One attempt to deliver an event to a durable subscription, and what came of it.

    ``at_us`` is the log's time when it ended, ``attempt`` counts from 1 (0: it expired before any hand-over),
    ``outcome`` is an Outcome, ``dead`` says that it made the event a dead letter, ``latency_ms`` runs from hand-over to
    outcome. ``status`` and ``response`` are what a destination answered.
    """

    at_us: int
    event_id: str
    subscription: str
    partition: int
    attempt: int
    outcome: str
    dead: bool = False
    latency_ms: float = 0.0
    status: int | None = None
    error: str = ""
    response: str = ""


class LoggedAttempt(NamedTuple):
    """An attempt and the node that made it. The log's key is ``attempt.at_us`` with ``node``."""

    node: str
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptQuery:
    """Which attempts to list. Absent conditions do not restrict; those present must all hold.

    ``since`` (inclusive) and ``until`` (exclusive) bound the time at which an attempt ended. Order is by that time,
    newest first when ``descending``. ``cursor`` is the ``next`` of the page before.
    """

    event_id: str | None = None
    subscription: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    descending: bool = True
    limit: int = 100
    cursor: str | None = None


class AttemptPage(NamedTuple):
    """One page of attempts; ``next`` continues, None ends. A page may be shorter than the limit and yet not the last:
    what has a wanted outcome is looked for among a bounded number of attempts."""

    attempts: list[LoggedAttempt]
    next: str | None


class DeliveryLog(Protocol):
    """Attempts by event and by subscription, for as long as they are kept.

    All methods raise StoreUnavailable when the database is away.
    """

    async def save(self, attempts: Sequence[LoggedAttempt]) -> None:
        """Log attempts in one transaction; those already there are left as they are.

        Raises StoreRejected when the database refuses the data itself.
        """
        ...

    async def query(self, query: AttemptQuery) -> AttemptPage:
        """Return one page. Raises InvalidInput for a cursor that is not one of ours or a limit outside 1..1000."""
        ...

    async def expire(self, before_us: int, limit: int) -> int:
        """Remove up to ``limit`` of the oldest attempts that ended before then; returns how many went.

        It never keeps attempts from being saved for longer than it takes to remove ``limit`` of them.
        """
        ...

    async def count(self) -> int:
        """Return how many attempts are logged."""
        ...
