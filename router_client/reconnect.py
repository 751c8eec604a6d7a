"""Coming back after a lost connection: exponential backoff with full jitter."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router_client.errors import ConnectionLost

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """A schedule of waits: before the n-th try (from 1), any time up to ``min(max_s, base_s * factor ** (n - 1))``.

    Drawing from the whole range ("full jitter") keeps clients that lost their node together from returning together.
    """

    base_s: float = 0.1
    factor: float = 2.0
    max_s: float = 10.0

    def ceiling(self, attempt: int) -> float:
        """Return the longest wait before try number ``attempt``, in seconds."""
        try:
            return min(self.max_s, self.base_s * self.factor ** (attempt - 1))
        except OverflowError:
            return self.max_s

    def delay(self, attempt: int, fraction: float) -> float:
        """Return the wait before try number ``attempt``; ``fraction`` is a random number from 0 to 1."""
        return self.ceiling(attempt) * fraction


class Reconnector:
    """Runs one connection after another.

    ``session`` lives through one connection: it calls :meth:`succeeded` once the connection is of use, and raises
    ConnectionLost when it ends. ``give_up_after_s`` counts from the loss of the last good connection.
    """

    def __init__(
        self,
        backoff: Backoff,
        give_up_after_s: float | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self.reconnects = 0
        self._backoff = backoff
        self._give_up_after_s = give_up_after_s
        self._sleep, self._now, self._fraction = sleep, now, fraction
        self._attempt = 0
        self._lost_at: float | None = None

    def succeeded(self) -> None:
        """Note that the present connection works: the schedule starts again from its beginning."""
        self._attempt = 0
        self._lost_at = None

    async def run(self, session: Callable[[], Awaitable[None]]) -> None:
        """Run sessions until one returns, waiting between them.

        Raises ConnectionLost, the last one, when no connection came about for ``give_up_after_s``; anything else a
        session raises passes through. Cancelling it is safe: it holds nothing of its own.
        """
        while True:
            try:
                return await session()
            except ConnectionLost as error:
                await self._sleep(self._next_delay(error))
            self.reconnects += 1

    def _next_delay(self, error: ConnectionLost) -> float:
        if self._lost_at is None:
            self._lost_at = self._now()
        self._attempt += 1
        delay = self._backoff.delay(self._attempt, self._fraction())
        if self._give_up_after_s is not None and self._now() + delay - self._lost_at > self._give_up_after_s:
            raise error
        _log.info("connection lost (%s); try %d in %.2f s", error.detail, self._attempt, delay)
        return delay
