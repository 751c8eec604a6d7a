"""Which partitions this node may change: leases taken, prolonged, handed over and given back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import structlog

from partitioning.errors import RedisUnavailable
from partitioning.leases import Leases, epoch_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What ownership asks of the stages: take a partition up, let go of some in good order, or drop one at once.

    ``own`` tells False when the partition has to wait, to be asked again later. ``prepare`` is awaited before the first
    of several is taken up.
    """

    prepare: Callable[[], Awaitable[None]]
    own: Callable[[int], Awaitable[bool]]
    drain: Callable[[Collection[int]], Awaitable[None]]
    disown: Callable[[int], None]


class Ownership:
    """The leases of this node.

    ``tokens`` (partition -> fencing token) is the one place where the log looks up what to fence with. ``released`` is
    told which partitions another node may take now.
    """

    def __init__(
        self,
        leases: Leases,
        lease_ms: int,
        tokens: dict[int, str],
        released: Callable[[Collection[int]], None],
    ) -> None:
        self._leases = leases
        self._lease_s = lease_ms / 1000
        self._released = released
        self._renewed_at = time.monotonic()
        self.tokens = tokens
        self.wanted: frozenset[int] = frozenset()
        self._to_load: set[int] = set()
        self._leaving: set[int] = set()
        self._waiting: set[int] = set()
        self.lost_leases = self.taken_leases = self.handed_over = 0

    def epoch(self, partition: int) -> int:
        """Return the epoch under which a partition is owned, 0 when it is not."""
        token = self.tokens.get(partition)
        return epoch_of(token) if token else 0

    @property
    def valid(self) -> bool:
        """No lease can have run out unnoticed, however long this process was kept from running."""
        return time.monotonic() - self._renewed_at < self._lease_s

    @property
    def owned(self) -> set[int]:
        """The partitions that are taken up and not on their way out."""
        return self.tokens.keys() - self._to_load - self._leaving

    @property
    def complete(self) -> bool:
        """Everything placed here is owned here, but for new partitions that wait for what precedes them."""
        return self.wanted <= self.owned | (self._waiting & self.tokens.keys())

    @property
    def waiting(self) -> bool:
        """Some partitions are held that cannot be taken up yet."""
        return bool(self._to_load)

    def lost(self, partition: int) -> None:
        """A script found the lease gone; the next round takes it again if it is free."""
        if self.tokens.pop(partition, None) is not None:
            self.lost_leases += 1
            self._to_load.discard(partition)
            log.warning("lost the lease of a partition", partition=partition)

    async def keep(self, work: Work) -> None:
        """Prolong the leases that are held. Raises RedisUnavailable; see :meth:`gave_out`."""
        asked_at = time.monotonic()
        for partition in await self._leases.renew(dict(self.tokens)):
            work.disown(partition)
            self.lost(partition)
        self._renewed_at = asked_at

    async def take(self, work: Work) -> None:
        """Take what is wanted and free, and take it up. Raises RedisUnavailable, and what ``work`` raises."""
        missing = sorted(self.wanted - self.tokens.keys())
        if missing:
            taken = await self._leases.acquire(missing)
            self.tokens.update(taken)
            self._to_load.update(taken)
            self.taken_leases += len(taken)
        to_load = sorted(self._to_load & self.tokens.keys())
        if not to_load:
            return
        await work.prepare()
        taken_up = 0
        for partition in to_load:
            if await work.own(partition):
                taken_up += 1
                self._to_load.discard(partition)
                self._waiting.discard(partition)
            else:
                self._waiting.add(partition)
        if taken_up:
            log.info("took partitions over", partitions=taken_up, owned=len(self.tokens))

    def unwanted(self) -> set[int]:
        """Return the partitions that are placed elsewhere now and are not being handed over yet."""
        return self.tokens.keys() - self.wanted - self._leaving

    async def hand_over(self, partitions: Collection[int], work: Work) -> None:
        """Drain partitions and release their leases, so that their next owner can start at once."""
        self._leaving.update(partitions)
        try:
            await work.drain(partitions)
            for partition in partitions:
                work.disown(partition)
            tokens = {p: self.tokens.pop(p) for p in partitions if p in self.tokens}
            self._to_load.difference_update(partitions)
            await self._leases.release(tokens)
            self.handed_over += len(tokens)
            self._released(tokens.keys())
            log.info("handed partitions over", partitions=len(tokens), owned=len(self.tokens))
        except RedisUnavailable as error:
            log.warning("leases could not be given back; they run out by themselves", error=str(error))
        finally:
            self._leaving.difference_update(partitions)

    def gave_out(self, work: Work) -> bool:
        """Drop everything once the leases may have run out; tells whether they have."""
        if self.valid:
            return False
        for partition in list(self.tokens):
            work.disown(partition)
            self.lost(partition)
        return True


class SoleOwner:
    """The right of the one process there is; see deliver.Right."""

    valid = True

    def __init__(self) -> None:
        self._started = time.time_ns() // 1_000_000  # delivery ids of an earlier run must not fit this one's

    def epoch(self, partition: int) -> int:
        """See Right."""
        return self._started
