"""Append: concurrent publishes of one node become one write to the log (group commit)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from router_client.errors import EventRouterError, Overloaded, Unavailable
from router_node.log.port import Answer, Closed, Moved, NewRecord

WAITING_EVENTS = 20_000
WAITING_BYTES = 64 * 1024 * 1024
COMMIT_EVENTS = 2_000
COMMIT_BYTES = 4 * 1024 * 1024

OPENED_WITHIN_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1

Appended = list[tuple[NewRecord, bool | EventRouterError]]
AppendToLog = Callable[[Sequence[NewRecord]], Awaitable[list[Answer]]]
Relocate = Callable[[NewRecord, Moved], NewRecord]


class Appender:
    """One commit is under way at any time; what arrives meanwhile forms the next, so batches grow with the load.

    That also keeps the order in which one publisher sent its events. ``relocate`` finds where a record goes whose slot
    has moved.
    """

    def __init__(self, append: AppendToLog, relocate: Relocate = lambda record, _: record) -> None:
        self._append = append
        self._relocate = relocate
        self._waiting: deque[tuple[Sequence[NewRecord], int, asyncio.Future[Appended]]] = deque()
        self._waiting_events = 0
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._closed = False
        self.accepted = self.commits = self.refused = 0

    @property
    def waiting(self) -> int:
        """Events waiting for the next commit, at most ``WAITING_EVENTS`` and those of one call."""
        return self._waiting_events

    async def append(self, records: Sequence[NewRecord]) -> Appended:
        """Append in the next commit; returns each record, as it was placed in the end, with its answer: False
        appended, True a duplicate, or why it was refused.

        Raises Overloaded when too much is waiting, LogUnavailable when the outcome is unknown. A caller that is
        cancelled gives up the answer only: the events may still be appended.
        """
        if self._closed:
            raise Unavailable("this node is stopping; publish to another")
        if self._waiting_events >= WAITING_EVENTS or self._waiting_bytes >= WAITING_BYTES:
            self.refused += len(records)
            raise Overloaded("too many events wait for the log on this node")
        answers: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        size = sum(len(record.body) for record in records)
        self._waiting.append((records, size, answers))
        self._waiting_events += len(records)
        self._waiting_bytes += size
        self._more.set()
        return await answers

    async def run(self) -> None:
        """Commit until :meth:`close` was called and nothing waits any more."""
        while self._waiting or not self._closed:
            await self._more.wait()
            if not self._waiting:
                self._more.clear()
                if self._closed:
                    return
                continue
            calls = self._next_group()
            records = [record for call, _, _ in calls for record in call]
            try:
                appended = await self._commit(records)
            except EventRouterError as error:
                for _, _, future in calls:
                    if not future.done():
                        future.set_exception(error)
                continue
            self.commits += 1
            self._count(appended)
            at = 0
            for call, _, future in calls:
                if not future.done():
                    future.set_result(appended[at : at + len(call)])
                at += len(call)

    async def _commit(self, records: Sequence[NewRecord]) -> Appended:
        """Append, following slots that move meanwhile, and waiting for a partition's owner to open it.

        That is done before anything newer is appended, so that the order holds.
        """
        placed: list[tuple[NewRecord, Answer]] = list(zip(records, await self._append(records), strict=True))
        again = [index for index, (_, answer) in enumerate(placed) if isinstance(answer, Moved | Closed)]
        pause, waited = FIRST_PAUSE_S, 0.0
        while again and waited < OPENED_WITHIN_S:
            if any(isinstance(placed[index][1], Closed) for index in again):
                await asyncio.sleep(pause)
                pause, waited = min(pause * 2, LONGEST_PAUSE_S), waited + pause
            parts = [self._placed_anew(*placed[index]) for index in again]
            for index, record, answer in zip(again, parts, await self._append(parts), strict=True):
                placed[index] = (record, answer)
            again = [index for index in again if isinstance(placed[index][1], Moved | Closed)]
        for index in again:
            record, answer = placed[index]
            placed[index] = (record, _given_up(answer))
        return cast(Appended, placed)

    def _placed_anew(self, record: NewRecord, answer: Answer) -> NewRecord:
        return self._relocate(record, answer) if isinstance(answer, Moved) else record

    def close(self) -> None:
        """Refuse new work; :meth:`run` ends when what waits is committed."""
        self._closed = True
        self._more.set()

    def _next_group(self) -> list[tuple[Sequence[NewRecord], int, asyncio.Future[Appended]]]:
        calls: list[tuple[Sequence[NewRecord], int, asyncio.Future[Appended]]] = []
        events = size = 0
        while self._waiting and (not calls or (events < COMMIT_EVENTS and size < COMMIT_BYTES)):
            call = self._waiting.popleft()
            calls.append(call)
            events += len(call[0])
            size += call[1]
        self._waiting_events -= events
        self._waiting_bytes -= size
        return calls

    def _count(self, appended: Appended) -> None:
        for _, answer in appended:
            if answer is False:
                self.accepted += 1
            elif answer is not True:
                self.refused += 1


def _given_up(answer: Answer) -> Answer:
    if isinstance(answer, Moved):
        return Unavailable("the partitions are being moved faster than this node can follow; publish again")
    if isinstance(answer, Closed):
        return Unavailable(f"no node has taken partition {answer.partition} up since its data began; publish again")
    return answer
