"""Append: concurrent publishes of one node, or of one client of Redis, become one write to the log (group commit)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, cast

from router_client.appending.records import Answer, Closed, Moved, NewRecord
from router_client.errors import EventRouterError, Overloaded, Unavailable

WAITING_EVENTS = 20_000
WAITING_BYTES = 64 * 1024 * 1024
COMMIT_EVENTS = 2_000
COMMIT_BYTES = 4 * 1024 * 1024

OPENED_WITHIN_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1

_NOT_PLACED = (Moved, Closed)

Appended = list[tuple[NewRecord, bool | EventRouterError]]
Done = Callable[[Appended | EventRouterError], None]
AppendToLog = Callable[[Sequence[NewRecord]], Awaitable[list[Answer]]]
Relocate = Callable[[NewRecord, Moved], NewRecord]


class _Call(NamedTuple):
    """Records handed in together, their bytes, and who is told what became of them."""

    records: Sequence[NewRecord]
    size: int
    done: Done


class Appender:
    """One commit is under way at any time; what arrives meanwhile forms the next, so batches grow with the load.

    That also keeps the order in which one publisher sent its events. ``relocate`` finds where a record goes whose slot
    has moved.
    """

    def __init__(self, append: AppendToLog, relocate: Relocate = lambda record, _: record) -> None:
        self._append = append
        self._relocate = relocate
        self._waiting: deque[_Call] = deque()
        self._waiting_events = 0
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._closed = False
        self.accepted = self.commits = self.refused = 0

    @property
    def waiting(self) -> int:
        """Events waiting for the next commit, at most ``WAITING_EVENTS`` and those of one call."""
        return self._waiting_events

    def hand_in(self, records: Sequence[NewRecord], done: Done) -> None:
        """Have records appended in the next commit. ``done`` is called once, on the event loop: with each record, as it
        was placed in the end, and its answer (False appended, True a duplicate, or why it was refused), or with the
        error of the whole commit, whose outcome is unknown then.

        Raises Overloaded when too much is waiting, Unavailable when the node stops.
        """
        if self._closed:
            raise Unavailable("this node is stopping; publish to another")
        if self._waiting_events >= WAITING_EVENTS or self._waiting_bytes >= WAITING_BYTES:
            self.refused += len(records)
            raise Overloaded("too many events wait for the log here")
        size = sum(len(record.body) for record in records)
        self._waiting.append(_Call(records, size, done))
        self._waiting_events += len(records)
        self._waiting_bytes += size
        self._more.set()

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
            records = [record for call in calls for record in call.records]
            try:
                appended = await self._commit(records)
            except EventRouterError as error:
                self._answer_soon(calls, error)
                continue
            self.commits += 1
            self._count(appended)
            self._answer_soon(calls, appended)

    async def _commit(self, records: Sequence[NewRecord]) -> Appended:
        """Append, following slots that move meanwhile, and waiting for a partition's owner to open it.

        That is done before anything newer is appended, so that the order holds.
        """
        placed: list[tuple[NewRecord, Answer]] = list(zip(records, await self._append(records), strict=True))
        again = [index for index, (_, answer) in enumerate(placed) if isinstance(answer, _NOT_PLACED)]
        pause, waited = FIRST_PAUSE_S, 0.0
        while again and waited < OPENED_WITHIN_S:
            if any(isinstance(placed[index][1], Closed) for index in again):
                await asyncio.sleep(pause)
                pause, waited = min(pause * 2, LONGEST_PAUSE_S), waited + pause
            parts = [self._placed_anew(*placed[index]) for index in again]
            for index, record, answer in zip(again, parts, await self._append(parts), strict=True):
                placed[index] = (record, answer)
            again = [index for index in again if isinstance(placed[index][1], _NOT_PLACED)]
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

    def _next_group(self) -> list[_Call]:
        calls: list[_Call] = []
        events = size = 0
        while self._waiting and (not calls or (events < COMMIT_EVENTS and size < COMMIT_BYTES)):
            call = self._waiting.popleft()
            calls.append(call)
            events += len(call.records)
            size += call.size
        self._waiting_events -= events
        self._waiting_bytes -= size
        return calls

    def _answer_soon(self, calls: Sequence[_Call], outcome: Appended | EventRouterError) -> None:
        """Have callers answered after the next commit is written, so that the log works meanwhile."""
        asyncio.get_running_loop().call_soon(_answer, calls, outcome)

    def _count(self, appended: Appended) -> None:
        for _, answer in appended:
            if answer is False:
                self.accepted += 1
            elif answer is not True:
                self.refused += 1


def _answer(calls: Sequence[_Call], outcome: Appended | EventRouterError) -> None:
    at = 0
    for call in calls:
        call.done(outcome if isinstance(outcome, EventRouterError) else outcome[at : at + len(call.records)])
        at += len(call.records)


def _given_up(answer: Answer) -> Answer:
    if isinstance(answer, Moved):
        return Unavailable("the partitions are being moved faster than this node can follow; publish again")
    if isinstance(answer, Closed):
        return Unavailable(f"no node has taken partition {answer.partition} up since its data began; publish again")
    return answer
