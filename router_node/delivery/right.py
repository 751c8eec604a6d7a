"""The right to deliver from a partition, as a lease gives it."""

from __future__ import annotations

from typing import Protocol


class Right(Protocol):
    """The right to deliver, as ownership knows it."""

    def epoch(self, partition: int) -> int:
        """Return the epoch under which this node owns a partition."""
        ...

    @property
    def valid(self) -> bool:
        """No lease can have run out unnoticed."""
        ...
