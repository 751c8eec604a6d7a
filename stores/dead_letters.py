"""Dead letters kept in Redis streams, one stream per partition: listed, looked at and removed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from partitioning.keys import Keys
from stores.cursor import check_limit, not_a_cursor
from stores.errors import StoreUnavailable
from stores.ports import DeadLetter, DeadLetterPage

_ID = re.compile(r"(\d{1,4})-(\d{1,20}-\d{1,20})")
_START = "0-0"
SCANNED_AT_MOST = 10_000
CALL_S = 5.0


class RedisDeadLetters:
    """DeadLetters over the ``dlq`` streams of a cluster; a letter's id is ``<partition>-<stream id>``."""

    def __init__(self, redis: Redis, keys: Keys, partitions: int) -> None:
        self._redis = redis
        self._keys = keys
        self._partitions = partitions

    async def list(
        self,
        *,
        subscription: str | None = None,
        reason: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DeadLetterPage:
        """See DeadLetters. At most ``SCANNED_AT_MOST`` letters are looked at for one page."""
        check_limit(limit)
        partition, after = _read_cursor(cursor)
        letters: list[DeadLetter] = []
        scanned = 0
        while partition < self._partitions:
            found = await self._range(partition, after, limit)
            scanned += len(found)
            for stream_id, fields in found:
                after = _text(stream_id)
                letter = _letter(partition, after, fields)
                if subscription in (None, letter.subscription) and reason in (None, letter.reason):
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
        if place is None or place[0] >= self._partitions:
            return None
        found = await self._call(self._redis.xrange(self._keys.dead_letters(place[0]), place[1], place[1]))
        return _letter(place[0], place[1], found[0][1]) if found else None

    async def remove(self, letter_ids: Sequence[str]) -> int:
        """See DeadLetters."""
        removed = 0
        for letter_id in letter_ids:
            place = _read_id(letter_id)
            if place is not None:
                removed += int(await self._call(self._redis.xdel(self._keys.dead_letters(place[0]), place[1])))
        return removed

    async def count(self) -> int:
        """See DeadLetters."""
        pipe = self._redis.pipeline(transaction=False)
        for partition in range(self._partitions):
            pipe.xlen(self._keys.dead_letters(partition))
        return sum(await self._call(pipe.execute()))

    async def _range(self, partition: int, after: str, count: int) -> Any:
        return await self._call(self._redis.xrange(self._keys.dead_letters(partition), f"({after}", "+", count))

    async def _call(self, answer: Any) -> Any:
        try:
            async with asyncio.timeout(CALL_S):
                return await answer
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"dead letters cannot be reached in Redis: {error or 'time-out'}") from error


def _letter(partition: int, stream_id: str, fields: dict[bytes, bytes]) -> DeadLetter:
    head = orjson.loads(fields[b"h"])
    return DeadLetter(id=f"{partition}-{stream_id}", partition=partition, body=fields[b"e"], **head)


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


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
