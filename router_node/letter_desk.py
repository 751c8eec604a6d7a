"""What operators ask of dead letters; see contract.LetterDesk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import orjson

from router_client.errors import Unavailable
from router_node.delivery.window import Window
from router_node.others import Others
from router_node.pipeline import Pipeline
from router_node.replay_run import Again
from router_node.requeue import Requeue
from router_node.security.permission import unknown_letter
from stores.errors import StoreError
from stores.ports import DeadLetter, DeadLetterPage, DeadLetters, LetterCounts, LetterFilter

WRITTEN_S = 5.0

T = TypeVar("T")


class LetterDesk:
    """Dead letters of the cluster; any node answers. ``others`` gives the other nodes, once there are some."""

    def __init__(
        self, pipeline: Pipeline, letters: DeadLetters, requeue: Requeue, others: Callable[[], Others]
    ) -> None:
        self._pipeline = pipeline
        self._letters = letters
        self._requeue = requeue
        self._others = others

    async def page(self, wanted: LetterFilter, limit: int, cursor: str | None) -> DeadLetterPage:
        """See contract.LetterDesk."""
        return await self._stored(self._letters.list(wanted, limit=limit, cursor=cursor))

    async def counts(self) -> LetterCounts:
        """See contract.LetterDesk."""
        return await self._stored(self._letters.counts())

    async def one(self, letter_id: str) -> DeadLetter:
        """See contract.LetterDesk."""
        letter = await self._stored(self._letters.get(letter_id))
        if letter is None:
            raise unknown_letter(letter_id)
        return letter

    async def replay(self, letter_ids: Sequence[str]) -> int:
        """See contract.LetterDesk. A letter is removed after it is safely in its subscription's queue."""
        here, replayed = await self._others().replay(letter_ids)
        return replayed + await self.replay_here(here)

    async def replay_here(self, letter_ids: Sequence[str]) -> int:
        """Deliver letters of this node's own partitions again; returns how many there were."""
        replayed = 0
        for letter_id in letter_ids:
            letter = await self._stored(self._letters.get(letter_id))
            if letter is None:
                continue
            if self._decided(letter, Window.release):
                await self._written([letter.partition])
            else:
                await self._queue(letter)
            replayed += await self._stored(self._letters.remove([letter_id]))
        return replayed

    async def purge(self, letter_ids: Sequence[str]) -> int:
        """See contract.LetterDesk. One that halts its key is purged by the owner of its partition; the key goes on."""
        letters = [letter for each in letter_ids if (letter := await self._stored(self._letters.get(each)))]
        halting = [letter.id for letter in letters if letter.queue_id]
        here, purged = await self._others().purge(halting) if halting else ([], 0)
        plain = [letter.id for letter in letters if not letter.queue_id]
        return purged + await self.purge_here(here) + await self._stored(self._letters.remove(plain))

    async def purge_here(self, letter_ids: Sequence[str]) -> int:
        """Purge letters that halt keys of this node's own partitions; returns how many there were."""
        partitions = set()
        for each in letter_ids:
            letter = await self._stored(self._letters.get(each))
            known = letter is not None and letter.subscription in self._pipeline.registry
            if letter is not None and known and self._decided(letter, Window.drop):
                partitions.add(letter.partition)
        await self._written(partitions)
        return await self._stored(self._letters.remove(letter_ids))

    def _decided(self, letter: DeadLetter, decision: Callable[[Window, int, int, bytes], bool]) -> bool:
        """Decide on the event that halts its key; False when it is in no queue (any more)."""
        if not letter.queue_id:
            return False
        self._check_owned(letter.partition)
        window = self._pipeline.registry.get(letter.subscription).window
        return decision(window, letter.partition, _priority_of(letter), letter.queue_id.encode())

    async def _queue(self, letter: DeadLetter) -> None:
        skipped_us = self._pipeline.registry.spec(letter.subscription).skip_before_us
        accepted_at_us = max(letter.accepted_at_us, skipped_us)  # a seek passed over the backlog, and not over this
        again = Again(letter.partition, _priority_of(letter), accepted_at_us, letter.body)
        if await self._requeue.queue_here(letter.subscription, [again]):
            raise Unavailable(f"partition {letter.partition} is not owned by this node now, or has no room; try again")

    def _check_owned(self, partition: int) -> None:
        if (partition, 0) not in self._pipeline.reader.owned():
            raise Unavailable(f"partition {partition} is not owned by this node now; try again")

    async def _written(self, partitions: Iterable[int]) -> None:
        """Wait until what was decided is in the log. Raises Unavailable when a partition was lost before that."""
        try:
            async with asyncio.timeout(WRITTEN_S):
                await self._pipeline.settler.written()
        except TimeoutError as error:
            raise Unavailable("the log is slow to take what was decided; try again") from error
        for partition in partitions:
            self._check_owned(partition)

    async def _stored(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except StoreError as error:
            raise Unavailable(f"the store cannot answer: {error}") from error


def _priority_of(letter: DeadLetter) -> int:
    return int(orjson.loads(letter.body)["priority"])
