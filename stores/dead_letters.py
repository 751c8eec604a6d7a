"""Dead letters kept in Redis streams, one stream per partition: listed, looked at and removed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import orjson

from partitioning.errors import RedisUnavailable
from partitioning.keys import Keys
from partitioning.redis_commands import Command, Commands, run_all
from router_client.topics import check_pattern, matches
from stores.cursor import MAX_INTEGER, check_limit, not_a_cursor
from stores.errors import StoreUnavailable
from stores.moments import micros
from stores.ports import NO_FILTER, DeadLetter, DeadLetterPage, LetterCount, LetterCounts, LetterFilter

_ID = re.compile(r"(\d{1,4})-(\d{1,20}-\d{1,20})")
_START = "0-0"
SCANNED_AT_MOST = 10_000
COUNTED_AT_MOST = 50_000
COUNTED_AT_ONCE = 100
PARTITIONS_AT_ONCE = 16


class RedisDeadLetters:
    """DeadLetters over the ``dlq`` streams of a cluster; a letter's id is ``<partition>-<stream id>``."""

    def __init__(self, commands: Commands, keys: Keys, partitions: Callable[[], int]) -> None:
        self._commands = commands
        self._keys = keys
        self._partitions = partitions

    async def list(
        self, wanted: LetterFilter = NO_FILTER, *, limit: int = 100, cursor: str | None = None
    ) -> DeadLetterPage:
        """See DeadLetters. At most ``SCANNED_AT_MOST`` letters are looked at for one page."""
        check_limit(limit)
        partition, after = _read_cursor(cursor)
        fits = _test(wanted)
        letters: list[DeadLetter] = []
        scanned = 0
        while partition < self._partitions():
            found = await self._range(partition, after, limit)
            scanned += len(found)
            for stream_id, fields in found:
                after = stream_id.decode()
                letter = _letter(partition, after, fields)
                if fits(letter):
                    letters.append(letter)
                    if len(letters) == limit:
                        return DeadLetterPage(letters, f"{partition}-{after}")
            if len(found) < limit:
                partition, after = partition + 1, _START
            elif scanned >= SCANNED_AT_MOST:
                return DeadLetterPage(letters, f"{partition}-{after}")
        return DeadLetterPage(letters, None)

    async def get(self, letter_id: str) -> DeadLetter | None:
        """See DeadLetters."""
        place = _read_id(letter_id)
        if place is None or place[0] >= self._partitions():
            return None
        (found,) = await self._run([("XRANGE", self._keys.dead_letters(place[0]), place[1], place[1])])
        return _letter(place[0], place[1], found[0][1]) if found else None

    async def remove(self, letter_ids: Sequence[str]) -> int:
        """See DeadLetters."""
        places = [place for letter_id in letter_ids if (place := _read_id(letter_id)) is not None]
        return sum(await self._run([("XDEL", self._keys.dead_letters(p), stream_id) for p, stream_id in places]))

    async def count(self) -> int:
        """See DeadLetters."""
        return sum(await self._run([("XLEN", self._keys.dead_letters(p)) for p in range(self._partitions())]))

    async def counts(self) -> LetterCounts:
        """See DeadLetters. At most ``COUNTED_AT_MOST`` letters are looked at, a part of each partition at a time."""
        lengths = await self._run([("XLEN", self._keys.dead_letters(p)) for p in range(self._partitions())])
        after = {partition: _START for partition, length in enumerate(lengths) if length}
        found: Counter[tuple[str, str]] = Counter()
        looked_at = 0
        while after and looked_at < COUNTED_AT_MOST:
            part = list(islice(after, PARTITIONS_AT_ONCE))
            ranges = [self._range_command(p, after[p], COUNTED_AT_ONCE) for p in part]
            for partition, entries in zip(part, await self._run(ranges), strict=True):
                heads = [_fields(fields)[b"h"] for _, fields in entries]
                found.update((head["subscription"], head["reason"]) for head in map(orjson.loads, heads))
                looked_at += len(entries)
                del after[partition]  # and to the end of the line when it has more, so that all have their turn
                if len(entries) == COUNTED_AT_ONCE:
                    after[partition] = entries[-1][0].decode()
        return LetterCounts([LetterCount(*key, count) for key, count in sorted(found.items())], complete=not after)

    async def _range(self, partition: int, after: str, count: int) -> Any:
        (found,) = await self._run([self._range_command(partition, after, count)])
        return found

    def _range_command(self, partition: int, after: str, count: int) -> Command:
        return ("XRANGE", self._keys.dead_letters(partition), f"({after}", "+", "COUNT", count)

    async def _run(self, commands: Sequence[Command]) -> Sequence[Any]:
        try:
            return await run_all(self._commands, commands)
        except RedisUnavailable as error:
            raise StoreUnavailable(f"dead letters cannot be reached: {error}") from error


def _letter(partition: int, stream_id: str, fields: Sequence[bytes]) -> DeadLetter:
    found = _fields(fields)
    head = orjson.loads(found[b"h"])
    return DeadLetter(id=f"{partition}-{stream_id}", partition=partition, body=found[b"e"], **head)


def _fields(fields: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))


def _test(wanted: LetterFilter) -> Callable[[DeadLetter], bool]:
    """Return what tells the letters that are wanted. Raises InvalidInput for a bad pattern."""
    pattern = None if wanted.type is None else check_pattern(wanted.type, "type")
    since_us = 0 if wanted.since is None else micros(wanted.since)
    until_us = MAX_INTEGER if wanted.until is None else micros(wanted.until)

    def fits(letter: DeadLetter) -> bool:
        return (
            wanted.subscription in (None, letter.subscription)
            and wanted.reason in (None, letter.reason)
            and since_us <= letter.dead_at_us < until_us
            and (pattern is None or matches(pattern, letter.event_type))
        )

    return fits


def _read_id(letter_id: str) -> tuple[int, str] | None:
    match = _ID.fullmatch(letter_id)
    if match is None or any(int(number) >= 2**64 for number in match[2].split("-")):
        return None
    return int(match[1]), match[2]


def _read_cursor(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return 0, _START
    place = _read_id(cursor)
    if place is None:
        raise not_a_cursor()
    return place
