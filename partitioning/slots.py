"""Which partition a key belongs to: key -> slot -> partition.

A key falls into one of 16,384 slots for ever: CRC-32 of its UTF-8 bytes, modulo 16,384. A slot table says which
partition holds each slot, and is a pure function of the number of partitions, so that all nodes and all clients agree
without asking one another.

The table for P partitions is reached from one partition by adding them one at a time. Partition i of P holds
``16384 // P`` slots, one more when ``i < 16384 % P``. Shares only shrink as P grows, so adding a partition is: each
older one hands its highest slots in excess of its new share to the new one. What follows:

- balance: two partitions never differ by more than one slot;
- least movement: growing P to P + k moves exactly the slots the k new partitions hold, which no table balanced this
  way can undercut, and never one between two old partitions;
- growing in steps or at once gives the same table.

A formula such as jump hashing moves as little but balances only on average, and a key hashed straight to a partition
could not be moved in units that a fence can name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from zlib import crc32

SLOTS = 16_384
MAX_PARTITIONS = 1024


def slot_of(key: str) -> int:
    """Return the slot of ``key``, 0..16383. Raises UnicodeEncodeError for text that UTF-8 cannot hold."""
    return crc32(key.encode()) % SLOTS


@dataclass(frozen=True, slots=True)
class SlotTable:
    """Which of ``partitions`` partitions holds each slot; get one from :func:`slot_table`."""

    partitions: int
    owners: tuple[int, ...] = field(repr=False)

    def partition_of(self, key: str) -> int:
        """Return the partition of ``key``. Raises UnicodeEncodeError for text that UTF-8 cannot hold."""
        return self.owners[crc32(key.encode()) % SLOTS]

    def slots_of(self, partition: int) -> tuple[int, ...]:
        """Return the slots that ``partition`` holds, in order; none for one that does not exist."""
        return tuple(slot for slot, owner in enumerate(self.owners) if owner == partition)


@lru_cache(maxsize=16)
def slot_table(partitions: int) -> SlotTable:
    """Return the table for that many partitions, 1..1024.

    Raises ValueError for any other number.
    """
    if not 1 <= partitions <= MAX_PARTITIONS:
        raise ValueError(f"partitions: from 1 to {MAX_PARTITIONS}, not {partitions}")
    held = [list(range(SLOTS))]
    for count in range(2, partitions + 1):
        held.append(_shares_handed_over(held, count))
    owners = [0] * SLOTS
    for partition, slots in enumerate(held):
        for slot in slots:
            owners[slot] = partition
    return SlotTable(partitions, tuple(owners))


def _shares_handed_over(held: list[list[int]], count: int) -> list[int]:
    """Take from each list what exceeds its share among ``count`` partitions, and return what was taken, in order."""
    share, larger = divmod(SLOTS, count)
    taken: list[int] = []
    for partition, slots in enumerate(held):
        keep = share + 1 if partition < larger else share
        if len(slots) > keep:
            taken += slots[keep:]
            del slots[keep:]
    taken.sort()
    return taken
