"""What operators do, on its way to the audit log: noted at once, written soon after, kept while the store is away."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog

from stores.audit import AuditEntry, AuditLog
from stores.errors import StoreError, StoreRejected

WAITING_AT_MOST = 10_000
WRITTEN_AT_ONCE = 500
RETRY_S = 1.0
LAST_WRITE_S = 2.0

log = structlog.get_logger(__name__)


class Deed(NamedTuple):
    """Who did what to which object, and what came of it; see AuditEntry. No secret is ever in it."""

    principal: str
    action: str
    object: str
    outcome: str = "done"
    peer: str = ""
    details: Mapping[str, Any] = {}


class AuditTrail:
    """Notes what was done. ``now_us`` is the log's time in microseconds since 1970.

    At most ``WAITING_AT_MOST`` entries wait for the store; any more are only in the node's own log, and counted
    (``dropped``). What a node that dies has not written yet is there too.
    """

    def __init__(self, audit: AuditLog, now_us: Callable[[], int]) -> None:
        self._audit = audit
        self.now_us = now_us
        self._waiting: deque[AuditEntry] = deque()
        self._more = asyncio.Event()
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many entries are not written yet."""
        return len(self._waiting)

    def entry(self, deed: Deed) -> AuditEntry:
        """Return the entry of what is done now."""
        return AuditEntry(self.now_us(), secrets.token_hex(8), *deed)

    def note(self, deed: Deed) -> None:
        """Note what was done just now. Never waits."""
        entry = self.entry(deed)
        log.info("audit", **{**deed._asdict(), "details": dict(deed.details)})
        if len(self._waiting) >= WAITING_AT_MOST:
            self.dropped += 1
            return
        self._waiting.append(entry)
        self._more.set()

    async def run(self) -> None:
        """Write what is noted until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self.written()
            except StoreError as error:
                log.warning("the audit log cannot be written; trying again", waiting=self.waiting, error=str(error))
                self._more.set()
                await asyncio.sleep(RETRY_S)

    async def written(self) -> None:
        """Write all that waits. Raises StoreUnavailable."""
        while self._waiting:
            some = [self._waiting[n] for n in range(min(WRITTEN_AT_ONCE, len(self._waiting)))]
            try:
                await self._audit.add(some)
            except StoreRejected as error:
                self.dropped += len(some)
                log.error("the store refuses entries of the audit log", entries=len(some), error=str(error))
            for _ in some:
                self._waiting.popleft()

    async def finish(self) -> None:
        """Write what is left, for ``LAST_WRITE_S`` at most, once :meth:`run` has ended."""
        try:
            async with asyncio.timeout(LAST_WRITE_S):
                await self.written()
        except (StoreError, TimeoutError) as error:
            log.warning("entries of the audit log are lost", entries=self.waiting, error=str(error) or "time-out")
