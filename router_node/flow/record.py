"""Record: what came of each attempt goes to the delivery log, behind the deliveries and never in their way.

Attempts are held in memory, a bounded number of them, and written in batches. While the database is away the oldest
held are dropped, and counted: the log promises less than delivery does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from stores.errors import StoreRejected, StoreUnavailable
from stores.ports import Attempt, DeliveryLog, LoggedAttempt
from stores.text import is_storable

ALL, FAILURES, OFF = "all", "failures", "off"
HELD_ATTEMPTS = 50_000
HELD_CHARS = 16 * 1024 * 1024
BATCH_ATTEMPTS = 2000
LINGER_S = 0.2
PATIENCE_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
SAME_TIME_US = 1000

log = structlog.get_logger(__name__)


class Recorder:
    """A Journal that writes to a delivery log.

    ``logged`` is ``all``, ``failures`` (what was acknowledged at the first attempt is left out) or ``off``. At most
    ``HELD_ATTEMPTS`` attempts with ``HELD_CHARS`` characters of errors and responses wait, besides one batch.
    """

    def __init__(self, delivery_log: DeliveryLog, node: str, logged: str = ALL) -> None:
        self._log = delivery_log
        self._node = node
        self._logged = logged
        self._held: deque[Attempt] = deque()
        self._held_chars = 0
        self._writing = 0
        self._last_us = 0
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()
        self.written = self.dropped = 0

    @property
    def waiting(self) -> int:
        """Attempts in memory that are not in the log yet."""
        return len(self._held) + self._writing

    def wants(self, outcome: str, attempt: int) -> bool:
        """See Journal."""
        if self._logged == FAILURES:
            return outcome != "acked" or attempt > 1
        return self._logged == ALL

    def note(self, attempt: Attempt) -> None:
        """See Journal."""
        # The log tells a node's attempts apart by their time. A clock that was set back for good is believed.
        if 0 <= self._last_us - attempt.at_us < SAME_TIME_US:
            attempt = attempt._replace(at_us=self._last_us + 1)
        self._last_us = attempt.at_us
        self._held.append(attempt)
        self._held_chars += _chars(attempt)
        while len(self._held) > HELD_ATTEMPTS or self._held_chars > HELD_CHARS:
            self._held_chars -= _chars(self._held.popleft())
            self.dropped += 1
        self._more.set()
        self._idle.clear()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._more.wait()
            if len(self._held) < BATCH_ATTEMPTS:
                await self._linger()
            batch = self._next_batch()
            self._writing = len(batch)
            await self._write(batch)
            self._writing = 0
            if not self._held:
                self._more.clear()
                self._idle.set()

    async def drain(self) -> None:
        """Return when everything noted by now is written, without waiting for more to write along with it."""
        self._hurry.set()
        await self._idle.wait()

    async def _linger(self) -> None:
        """Wait a little for more: the database is asked a few times a second, not for each attempt."""
        try:
            async with asyncio.timeout(LINGER_S):
                await self._hurry.wait()
        except TimeoutError:
            pass

    def _next_batch(self) -> list[LoggedAttempt]:
        batch: list[LoggedAttempt] = []
        while self._held and len(batch) < BATCH_ATTEMPTS:
            attempt = self._held.popleft()
            self._held_chars -= _chars(attempt)
            batch.append(LoggedAttempt(self._node, _storable(attempt)))
        return batch

    async def _write(self, batch: Sequence[LoggedAttempt]) -> None:
        """Write a batch, however long the database is away; what it refuses is dropped."""
        pause, dropped_before = 0.0, self.dropped
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._log.save(batch)
            except (StoreUnavailable, TimeoutError) as error:
                if not pause:
                    log.warning("the delivery log cannot be written; trying again", error=str(error) or "time-out")
                pause = min(pause * 2, LONGEST_PAUSE_S) or FIRST_PAUSE_S
                await asyncio.sleep(pause)
            except StoreRejected as error:
                log.error("the store refuses attempts; they are not logged", attempts=len(batch), error=str(error))
                self.dropped += len(batch)
                return
            else:
                self.written += len(batch)
                if pause:
                    log.info("the delivery log is written again", lost=self.dropped - dropped_before)
                return


def _chars(attempt: Attempt) -> int:
    return len(attempt.error) + len(attempt.response)


def _storable(attempt: Attempt) -> Attempt:
    """Return the attempt with nothing in strangers' text that a database cannot hold."""
    if not _chars(attempt) or is_storable(attempt.error + attempt.response):
        return attempt
    return attempt._replace(error=_clean(attempt.error), response=_clean(attempt.response))


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
