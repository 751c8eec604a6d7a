"""The ingest log on Redis streams: one script call per partition for each group of appends, reads and settlements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from redis.exceptions import RedisError

from partitioning.keys import CONSUMER, GROUP, Keys
from partitioning.limits import Limits
from router_client.appending.redis_append import APPEND, RedisAppend
from router_node.log.port import (
    NOWHERE,
    Answer,
    Begun,
    Entry,
    Follower,
    LogUnavailable,
    LostPartition,
    NewRecord,
    Nobody,
    Position,
    Released,
    Settled,
    Spill,
)
from router_node.log.redis_calls import Command, RedisCalls, Script

READ = Script.load("router_node.log", "read")
SETTLE = Script.load("router_node.log", "settle")
BEGIN = Script.load("router_node.log", "begin")
FEED = Script.load("router_node.log", "feed")
OPEN = Script.load("router_node.log", "open")
OLDEST = Script.load("router_node.log", "oldest")
STREAM_SCRIPTS = (APPEND, READ, SETTLE, BEGIN, FEED, OPEN, OLDEST)
_SETTLE_AT_ONCE = 256

log = structlog.get_logger(__name__)


class RedisStreams:
    """IngestLog and Generations on Redis.

    ``tokens`` maps each owned partition to its fencing token, kept current by the ownership; ``former`` names the
    partition that a record would have gone to before its slot moved, as long as that one may know its id.
    """

    def __init__(
        self,
        pipeline: RedisCalls,
        keys: Keys,
        tokens: Mapping[int, str],
        *,
        backlog_limit: int = 100_000,
        dedup_window_s: float = 120.0,
        dedup_ids: int = 100_000,
        former: Callable[[NewRecord], int | None] = lambda _: None,
        replicas: int = 1,
    ) -> None:
        self.follower: Follower = Nobody()
        self._pipeline = pipeline
        self._keys = keys
        self._tokens = tokens
        limits = Limits(backlog_limit, int(dedup_window_s * 1000), dedup_ids, replicas=replicas)
        self._appends = RedisAppend(pipeline.run, keys, limits, former, tokens, self._tell, self._told)
        self.groups_recreated = 0

    async def append(self, records: Sequence[NewRecord]) -> list[Answer]:
        """See IngestLog."""
        return await self._appends.append(records)

    async def append_replicated(self, records: Sequence[NewRecord]) -> list[Answer]:
        """Append, and wait until ``replicas`` replicas have it; see RedisAppend."""
        return await self._appends.append_replicated(records)

    def _told(self) -> None:
        self.follower.all_brought()

    def _tell(self, records: Sequence[NewRecord], brought: Sequence[bytes]) -> None:
        """Tell the follower what was appended in one call, but what has been brought to another node's."""
        by_priority: dict[int, list[NewRecord]] = defaultdict(list)
        for record in records:
            by_priority[record.priority].append(record)
        for text in brought:
            priority, *entry = text.split(b" ", 3)
            part = by_priority.pop(int(priority))
            if entry:
                entry_id, before, first = entry
                bodies = [record.body for record in part]
                self.follower.brought(_batch(part[0].partition, part[0].priority, entry_id, first, bodies), before)
        for level in by_priority:
            self.follower.rang(records[0].partition, level)

    async def read(self, sources: Sequence[tuple[int, int]], count: int) -> list[Entry]:
        """See IngestLog."""
        commands: list[Command] = [
            READ.call([self._keys.lease(p), self._keys.ingest(p, level)], self._token(p), GROUP, CONSUMER, count)
            for p, level in sources
        ]
        return await self._read(sources, commands)

    async def read_pending(self, sources: Sequence[tuple[int, int, bytes]], count: int) -> list[Entry]:
        """See IngestLog."""
        commands: list[Command] = [
            (
                "XREADGROUP",
                "GROUP",
                GROUP,
                CONSUMER,
                "COUNT",
                count,
                "STREAMS",
                self._keys.ingest(partition, priority),
                after,
            )
            for partition, priority, after in sources
        ]
        return await self._read([source[:2] for source in sources], commands)

    async def settle(self, entries: Sequence[Entry]) -> Settled:
        """See IngestLog."""
        by_partition: dict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_partition[entry.partition].append(entry)
        partitions: list[int] = []
        commands: list[Command] = []
        for partition, settled in by_partition.items():
            for start in range(0, len(settled), _SETTLE_AT_ONCE):
                partitions.append(partition)
                commands.append(self._settle_call(partition, settled[start : start + _SETTLE_AT_ONCE]))
        lost: set[int] = set()
        released: Released = []
        for partition, reply in zip(partitions, await self._pipeline.run(commands), strict=True):
            if isinstance(reply, RedisError):
                raise LogUnavailable(f"Redis refused to settle: {reply}") from reply
            if reply[0] == 0:
                lost.add(partition)
            released += map(released_of, reply[1:])
        return Settled(sorted(lost), released)

    async def begin(self, partition: int) -> Begun | LostPartition:
        """See Generations."""
        keys = [self._keys.lease(partition), self._keys.position(partition)]
        answer = await self._pipeline.one(BEGIN.call(keys, self._token(partition)))
        return Begun(int(answer[1]), answer[2] == 1) if answer[0] else LostPartition(partition)

    async def feed(self, partition: int, events: Sequence[tuple[int, Spill]]) -> int | LostPartition:
        """See Generations."""
        keys = [self._keys.lease(partition), self._keys.position(partition), self._keys.outbox(partition)]
        keys += [self._keys.ingest(partition, level) for level in range(10)]
        arguments: list[str | bytes | int] = [self._token(partition), GROUP]
        for priority, event in events:
            arguments += (priority, f"{event.accepted_at_us} {event.kept}", event.body)
        answer = await self._pipeline.one(FEED.call(keys, *arguments))
        return int(answer[1]) if answer[0] else LostPartition(partition)

    async def open(self, partition: int, generation: int) -> LostPartition | None:
        """See Generations."""
        keys = [self._keys.lease(partition), self._keys.position(partition)]
        opened = await self._pipeline.one(OPEN.call(keys, self._token(partition), generation))
        return None if opened else LostPartition(partition)

    async def backlog(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        """See IngestLog."""
        replies = await self._pipeline.run(
            [("XLEN", self._keys.ingest(p, level)) for p in partitions for level in range(10)]
        )
        lengths = iter(replies)
        return {p: {level: int(next(lengths)) for level in range(10)} for p in partitions}

    async def unsettled(self, partitions: Sequence[int]) -> dict[int, int]:
        """See IngestLog."""
        replies = await self._pipeline.all([("HMGET", self._keys.position(p), "seq", "settled") for p in partitions])
        return {p: int(seq or 0) - int(settled or 0) for p, (seq, settled) in zip(partitions, replies, strict=True)}

    async def oldest(self, partitions: Sequence[int]) -> int | None:
        """See IngestLog."""
        replies = await self._pipeline.all(
            [OLDEST.call([self._keys.ingest(p, level) for level in range(10)]) for p in partitions]
        )
        return min((int(reply) for reply in replies if reply), default=None)

    async def now_us(self) -> int:
        """See IngestLog."""
        seconds, micros = await self._pipeline.one(("TIME",))
        return int(seconds) * 1_000_000 + int(micros)

    def _token(self, partition: int) -> str:
        return self._tokens.get(partition, "")

    def _settle_call(self, partition: int, entries: Sequence[Entry]) -> Command:
        keys = [self._keys.lease(partition), self._keys.position(partition), self._keys.outbox(partition)]
        arguments: list[str | bytes | int] = []
        for entry in entries:
            keys.append(self._keys.ingest(partition, entry.priority))
            arguments += (entry.entry_id, len(entry.bodies), len(entry.kept))
            arguments += (f"{entry.accepted_at_us + n} {event_id}" for n, event_id in enumerate(entry.kept))
        return SETTLE.call(keys, self._token(partition), GROUP, *arguments)

    async def _read(self, sources: Sequence[tuple[int, int]], commands: Sequence[Command]) -> list[Entry]:
        entries: list[Entry] = []
        missing: list[tuple[int, int]] = []
        for source, reply in zip(sources, await self._pipeline.run(commands), strict=True):
            if isinstance(reply, RedisError):
                if not str(reply).startswith("NOGROUP"):
                    raise LogUnavailable(f"Redis refused to read {self._keys.ingest(*source)}: {reply}") from reply
                missing.append(source)
            else:
                entries.extend(_entries(*source, reply))
        if missing:
            await self._make_groups(missing)
        return entries

    async def _make_groups(self, sources: Sequence[tuple[int, int]]) -> None:
        """Make the groups that are missing, from the first entry, and the streams too where there is none yet."""
        streams = [self._keys.ingest(*source) for source in sources]
        exist = await self._pipeline.run([("EXISTS", stream) for stream in streams])
        await self._pipeline.run([("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM") for stream in streams])
        for stream, there in zip(streams, exist, strict=True):
            if there == 1:
                self.groups_recreated += 1
                log.warning("consumer group was gone and is made anew from the first entry", stream=stream)


def released_of(text: bytes) -> tuple[int, str]:
    """Read "<accepted at, µs> <id>" as scripts return it."""
    at, _, event_id = text.decode().partition(" ")
    return int(at), event_id


def _entries(partition: int, priority: int, reply: Any) -> Iterable[Entry]:
    if not reply:
        return
    streams = reply.values() if isinstance(reply, dict) else (stream[1] for stream in reply)
    for found in streams:
        for entry_id, fields in found:
            yield _entry(partition, priority, entry_id, fields)


def _entry(partition: int, priority: int, entry_id: bytes, fields: Sequence[bytes] | None) -> Entry:
    if not fields:  # deleted by hand while it was pending: an entry without events, which settles at once
        return Entry(partition, priority, entry_id, NOWHERE, 0, [])
    if fields[0] == b"f" and fields[1].isdigit():
        return Entry(partition, priority, entry_id, NOWHERE, 0, [], fence=int(fields[1]))
    try:
        return _batch(partition, priority, entry_id, fields[1], fields[3::2])
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
    ):  # not written by us: one body that is no event, which becomes a dead letter
        return Entry(partition, priority, entry_id, NOWHERE, 0, [b" ".join(fields)])


def _batch(partition: int, priority: int, entry_id: bytes, first: bytes, bodies: Sequence[bytes]) -> Entry:
    """Build an entry that an append made; ``first`` is its field ``p``. Raises ValueError, KeyError or TypeError."""
    generation, sequence, accepted, *kept = first.split()
    position = Position(int(generation), int(sequence))
    ids = [str(orjson.loads(body)["id"]) for body in bodies] if kept else ()
    return Entry(partition, priority, entry_id, position, int(accepted), bodies, kept=ids)


def read_brought(message: bytes) -> tuple[int, Entry, bytes]:
    """Read what a doorbell brings: the owner's epoch by which it was sent, the entry, and the id of the one before it.

    Raises ValueError.
    """
    head, first, bodies = message.split(b"\n", 2)
    partition, priority, epoch, entry_id, before, *sizes = head.split(b" ")
    parts: list[bytes] = []
    at = 0
    for size in map(int, sizes):
        parts.append(bodies[at : at + size])
        at += size
    try:
        entry = _batch(int(partition), int(priority), entry_id, first, parts)
    except (KeyError, TypeError) as error:
        raise ValueError(f"what had to be stored has no id: {error!r}") from error
    return int(epoch), entry, before
