"""What is appended to the log, and what becomes of it: the words that a node and the SDK's direct transport share."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from router_client.errors import EventRouterError, Unavailable

MAX_BATCH_EVENTS = 128
MAX_BATCH_BYTES = 256 * 1024


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """One encoded event to append. ``dedup_id`` is the id its publisher chose, None when the node made it.

    ``table`` is the number of partitions by which ``partition`` was found from ``slot``. ``kept`` is the event's id
    when it has to be stored before its publisher is answered, and fed again to a log that has lost it.
    """

    partition: int
    priority: int
    dedup_id: str | None
    body: bytes
    slot: int = 0
    table: int = 0
    kept: str = ""


class Moved(NamedTuple):
    """The answer to a record whose partition uses a newer table: it was not appended and may belong elsewhere."""

    partition: int
    table: int


class Closed(NamedTuple):
    """The answer to a record whose partition has no owner that opened it yet: it was not appended."""

    partition: int


class NotNow(Unavailable):
    """Redis is loading its data, or no primary, and appended nothing; the same append will work in a while."""


Answer = bool | Moved | Closed | EventRouterError
"""What became of a record: False appended, True a duplicate, else why it was not appended."""
