"""Appending to the partitions' ingest streams: the one caller of the append script, of a node and of the SDK.

A group of appends is one batch of commands: for each partition one call of the script, which deduplicates, numbers and
adds record batches, and brings or rings to the partition's owner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from partitioning.keys import GROUP, Keys
from partitioning.limits import Limits
from partitioning.redis_commands import Command, Script
from router_client.appending.records import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    Answer,
    Closed,
    Moved,
    NewRecord,
    NotNow,
)
from router_client.errors import EventRouterError, Overloaded, Unavailable

APPEND = Script.load("router_client.appending", "append")
REPLICATED_WITHIN_MS = 1000
_NO_PRIMARY = (BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)

Run = Callable[[Sequence[Command]], Awaitable[list[Any]]]
Tell = Callable[[Sequence[NewRecord], Sequence[bytes]], None]


class RedisAppend:
    """Appends through ``run``, which returns one reply per command, errors among them.

    ``former`` names the partition that a record would have gone to before its slot moved, as long as that one may know
    its id. ``tokens`` maps each partition owned by the caller to its fencing token; of what goes there ``tell`` hears,
    with the script's words on what it has brought, and ``told`` when that was all of one append.
    """

    def __init__(
        self,
        run: Run,
        keys: Keys,
        limits: Limits,
        former: Callable[[NewRecord], int | None],
        tokens: Mapping[int, str],
        tell: Tell = lambda _, __: None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._keys = keys
        self._doorbells = keys.doorbell("")
        self._former = former
        self._tokens = tokens
        self._tell, self._told = tell, told
        self._replicas = limits.replicas
        self._options = (str(limits.backlog), str(limits.dedup_ms), str(limits.dedup_ids), GROUP)
        self._append_keys: dict[int, tuple[list[str], list[str]]] = {}

    async def append(self, records: Sequence[NewRecord]) -> list[Answer]:
        """Append; one answer per record. Records of one partition and priority keep their order.

        Raises what ``run`` does when the outcome is unknown.
        """
        return (await self._append(records, []))[0]

    async def append_replicated(self, records: Sequence[NewRecord]) -> list[Answer]:
        """Append, and wait until ``replicas`` replicas have it; refused are those appended that too few confirmed."""
        answers, (confirmed,) = await self._append(records, [("WAIT", self._replicas, REPLICATED_WITHIN_MS)])
        if isinstance(confirmed, int) and confirmed >= self._replicas:
            return answers
        known = f"{confirmed} of" if isinstance(confirmed, int) else f"{confirmed}; not known which of"
        short = Unavailable(
            f"{known} {self._replicas} replicas confirmed in time; it may still be delivered, publish it with its id"
        )
        return [short if isinstance(answer, bool) else answer for answer in answers]

    async def _append(self, records: Sequence[NewRecord], then: list[Command]) -> tuple[list[Answer], list[Any]]:
        accepted_before = await self._accepted_before(records)
        by_partition: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            if index not in accepted_before:
                by_partition[record.partition, record.kept != ""].append(index)
        calls = [chunk for indexes in by_partition.values() for chunk in _chunks(indexes, records)]
        ahead = self._ahead(records, calls)
        commands = [*ahead, *(self._append_call(records, chunk) for chunk in calls), *then]
        replies = (await self._run(commands))[len(ahead) :]
        answers: list[Answer] = [index in accepted_before for index in range(len(records))]
        for chunk, reply in zip(calls, replies, strict=False):
            refusal = _refusal(records[chunk[0]].partition, reply)
            for offset, index in enumerate(chunk):
                answers[index] = refusal or reply[offset] == 1
            if refusal is None:
                self._tell([records[index] for index in chunk if answers[index] is False], reply[len(chunk) :])
        self._told()
        return answers, replies[len(calls) :]

    def _ahead(self, records: Sequence[NewRecord], calls: Sequence[Sequence[int]]) -> list[Command]:
        """Return what is asked before a single append to another node's partition, so that its owner is told first.

        What a script has published and what it replies are written when it has ended, last to whom Redis had something
        to say first: the caller, if it has a reply coming already. Otherwise the owner waits for one wake-up more.
        """
        if len(calls) != 1 or self._tokens.get(records[calls[0][0]].partition):
            return []
        return [("EXISTS", self._keys.lease(records[calls[0][0]].partition))]

    async def _accepted_before(self, records: Sequence[NewRecord]) -> set[int]:
        """Find the duplicates of events that were accepted by the partition their slot has lately moved from."""
        moved = [
            (index, before, record.dedup_id)
            for index, record in enumerate(records)
            if record.dedup_id is not None and (before := self._former(record)) is not None
        ]
        if not moved:
            return set()
        found = await self._run([("ZSCORE", self._keys.ids(before), dedup_id) for _, before, dedup_id in moved])
        return {index for (index, _, _), score in zip(moved, found, strict=True) if isinstance(score, bytes)}

    def _append_call(self, records: Sequence[NewRecord], chunk: Sequence[int]) -> Command:
        first = records[chunk[0]]
        partition = first.partition
        kept = "1" if first.kept else ""
        levels, table = {first.priority}, first.table
        arguments: list[str | bytes | int] = []
        for index in chunk:
            record = records[index]
            levels.add(record.priority)
            table = min(table, record.table)
            arguments += (record.priority, record.kept or record.dedup_id or "", record.body)
        falling = sorted(levels, reverse=True)
        streams = "".join(map(str, falling))
        owner = (partition, self._tokens.get(partition, ""), self._doorbells)
        keys = self._keys_of_append(partition, falling)
        return APPEND.call(keys, *self._options, table, kept, *owner, streams, *arguments)

    def _keys_of_append(self, partition: int, levels: Iterable[int]) -> list[str]:
        known = self._append_keys.get(partition)
        if known is None:
            keys = self._keys
            same = [keys.position(partition), keys.ids(partition), keys.outbox(partition), keys.lease(partition)]
            known = self._append_keys[partition] = same, [keys.ingest(partition, level) for level in range(10)]
        same, streams = known
        return [*same, *(streams[level] for level in levels)]


def _chunks(indexes: list[int], records: Sequence[NewRecord]) -> Iterable[list[int]]:
    """Split into appends; one numbers its events by priority, so a key has a single priority in each."""
    chunk: list[int] = []
    size = 0
    priorities: dict[int, int] = {}
    for index in indexes:
        record = records[index]
        length = len(record.body)
        out_of_order = priorities.setdefault(record.slot, record.priority) != record.priority
        if chunk and (out_of_order or len(chunk) >= MAX_BATCH_EVENTS or size + length > MAX_BATCH_BYTES):
            yield chunk
            chunk, size, priorities = [], 0, {record.slot: record.priority}
        chunk.append(index)
        size += length
    if chunk:
        yield chunk


def _refusal(partition: int, reply: Any) -> Moved | Closed | EventRouterError | None:
    if isinstance(reply, OutOfMemoryError):
        return Overloaded("Redis is out of memory; what is there is being delivered", retry_after_s=2.0)
    if isinstance(reply, _NO_PRIMARY):
        return NotNow(f"Redis takes nothing now: {reply}")
    if isinstance(reply, RedisError):
        return Unavailable(f"Redis refused the append: {reply}")
    if reply[0] == -3:
        return Closed(partition)
    if reply[0] == -2:
        return Moved(partition, reply[1])
    if reply[0] == -1:
        return Overloaded(f"partition {partition} has its full backlog of unsettled events")
    return None
