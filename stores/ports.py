"""What the router needs from a database, as Protocols. Each has one contract suite that every implementation passes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from stores.access import AccessObject as AccessObject
from stores.access import AccessStore as AccessStore
from stores.attempts import Attempt as Attempt
from stores.attempts import AttemptPage as AttemptPage
from stores.attempts import AttemptQuery as AttemptQuery
from stores.attempts import DeliveryLog as DeliveryLog
from stores.attempts import LoggedAttempt as LoggedAttempt
from stores.audit import AuditEntry as AuditEntry
from stores.audit import AuditLog as AuditLog
from stores.audit import AuditPage as AuditPage
from stores.audit import AuditQuery as AuditQuery
from stores.replays import Replay as Replay
from stores.replays import Replays as Replays
from stores.subscriptions import Put as Put
from stores.subscriptions import SubscriptionChange as SubscriptionChange
from stores.subscriptions import SubscriptionStore as SubscriptionStore


class StoredEvent(NamedTuple):
    """One event as the store keeps it.

    ``accepted_at_us`` is the log's time of acceptance in microseconds since 1970; with ``id`` it is the store's key.
    ``body`` is the encoded event, kept byte for byte. The other fields are copies of members of the body to search by.
    """

    accepted_at_us: int
    id: str
    type: str
    source: str
    correlation_id: str
    priority: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events to list. Absent conditions do not restrict; those present must all hold.

    ``type`` is a topic or a pattern; ``since`` (inclusive) and ``until`` (exclusive) bound the time of acceptance;
    ``payload`` must be contained in the event's payload (objects recursively, arrays as sets, as jsonb ``@>`` does).
    Order is by (accepted_at, id), newest first when ``descending``. ``cursor`` is the ``next`` of the page before.
    """

    type: str | None = None
    correlation_id: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    payload: Mapping[str, Any] | None = None
    descending: bool = True
    limit: int = 100
    cursor: str | None = None


class EventPage(NamedTuple):
    """One page of events; ``next`` continues, None ends. A page may be shorter than the limit and yet not the last."""

    events: list[StoredEvent]
    next: str | None


class EventStore(Protocol):
    """Every event accepted, by id and by query. All methods raise StoreUnavailable when the database is away."""

    async def save(self, events: Sequence[StoredEvent]) -> int:
        """Store events in one transaction and return how many were new; those already there are left as they are.

        Raises StoreRejected when the database refuses the data itself.
        """
        ...

    async def load(self, event_id: str) -> StoredEvent | None:
        """Return the event of that id (the first accepted, should there be several), or None."""
        ...

    async def query(self, query: EventQuery) -> EventPage:
        """Return one page. Raises InvalidInput for a cursor that is not one of ours or a limit outside 1..1000."""
        ...

    async def delete(self, event_ids: Sequence[str]) -> int:
        """Delete events by id and return how many went."""
        ...

    async def count(self) -> int:
        """Return how many events are stored."""
        ...

    async def ping(self) -> None:
        """Return when the database answers; for readiness checks."""
        ...


class Owed(NamedTuple):
    """A stored event that some lane has still to settle: its row in the outbox, and the event itself.

    ``slot`` is its correlation id's, ``generation`` and ``sequence`` its position in the log that took it first.
    """

    slot: int
    generation: int
    sequence: int
    event: StoredEvent


class Outbox(Protocol):
    """Events acknowledged as stored that must outlive the log: fed to it again when it has lost its data.

    All methods raise StoreUnavailable when the database is away.
    """

    async def save(self, events: Sequence[StoredEvent], owed: Sequence[Owed]) -> None:
        """Store events, and outbox rows for those of ``owed``, in one transaction; what is there is left as it is.

        Raises StoreRejected when the database refuses the data itself.
        """
        ...

    async def load(self, slots: Collection[int], before_generation: int, limit: int, after: Owed | None) -> list[Owed]:
        """Return the next rows of these slots from older generations, in the order they were accepted."""
        ...

    async def remove(self, keys: Sequence[tuple[int, str]]) -> int:
        """Remove rows by (accepted_at_us, id); returns how many there were."""
        ...

    async def stored(self, event_ids: Collection[str]) -> set[str]:
        """Return those ids of which an event is stored."""
        ...

    async def count(self) -> int:
        """Return how many rows there are."""
        ...


DeadLetterReason = Literal["attempts", "rejected", "store_refused", "unreadable", "filter_cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One event that could not be delivered to one subscription.

    ``id`` is given by the place that keeps it and is unique in the cluster. Times are microseconds since 1970.
    ``reason`` says why it was given up, ``error`` is the last failure's text (at most 4 KiB). ``queue_id`` is set when
    the event halts its key: it is still in its lane's queue, at that place.
    """

    id: str
    subscription: str
    partition: int
    reason: str
    error: str
    attempts: int
    accepted_at_us: int
    dead_at_us: int
    event_id: str
    event_type: str
    body: bytes
    queue_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which dead letters. Absent conditions do not restrict; those present must all hold.

    ``type`` is a topic or a pattern; ``since`` (inclusive) and ``until`` (exclusive) bound when they died.
    """

    subscription: str | None = None
    reason: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeadLetterPage(NamedTuple):
    """One page of dead letters, oldest first; ``next`` continues, None ends."""

    letters: list[DeadLetter]
    next: str | None


class LetterCount(NamedTuple):
    """How many dead letters a subscription has for one reason."""

    subscription: str
    reason: str
    letters: int


class LetterCounts(NamedTuple):
    """Counts by subscription and reason, in this order; not ``complete`` when there were too many to look at all."""

    counts: list[LetterCount]
    complete: bool


NO_FILTER = LetterFilter()


class DeadLetters(Protocol):
    """Dead letters to operators: list, look, remove. How they get there is the log's matter."""

    async def list(
        self, wanted: LetterFilter = NO_FILTER, *, limit: int = 100, cursor: str | None = None
    ) -> DeadLetterPage:
        """Return one page, which may be short and yet not the last.

        Raises InvalidInput for a bad cursor or pattern, or a limit outside 1..1000.
        """
        ...

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return the letter of that id, or None."""
        ...

    async def remove(self, letter_ids: Sequence[str]) -> int:
        """Remove letters by id and return how many went."""
        ...

    async def count(self) -> int:
        """Return how many letters there are."""
        ...

    async def counts(self) -> LetterCounts:
        """Return how many there are by subscription and reason; the place may bound how many it looks at."""
        ...


class DeadLetterSink(Protocol):
    """Where an embedded log puts dead letters: the store."""

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep letters; adding an id again changes nothing."""
        ...


class Database(Protocol):
    """An open database with its ports; :func:`stores.open.open_database` makes one from a URL."""

    events: EventStore
    outbox: Outbox
    subscriptions: SubscriptionStore
    delivery_log: DeliveryLog
    replays: Replays
    access: AccessStore
    audit: AuditLog

    async def migrate(self) -> list[str]:
        """Bring the schema up to date and return the names of the migrations applied now.

        Any number of nodes may call it at the same time; each migration is applied once.
        """
        ...

    async def close(self) -> None:
        """Close every connection; closing twice is allowed."""
        ...
