"""Who may publish now: the options on publishing without a connection, kept alike by every transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router_client.errors import ConnectionLost, Overloaded
from router_client.options import ClientOptions


class Admission:
    """Lets publishes in, at most ``publish_buffer`` at once, each for at most ``publish_timeout_s``.

    ``connected`` is the transport's to set. Without a connection a publish fails, or waits while there is room for one
    that waits; with one it waits for room.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.connected = True
        self._options = options
        self._room = asyncio.Semaphore(options.publish_buffer)
        self._inside = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    @asynccontextmanager
    async def publish(self) -> AsyncIterator[None]:
        """Hold a place for one publish while the block runs.

        Raises ConnectionLost when there is no connection and none is waited for, or when time is up, and Overloaded
        when enough are waiting for a connection.
        """
        if not self.connected:
            if self._options.while_disconnected == "fail":
                raise ConnectionLost("not connected")
            if self._room.locked():
                raise Overloaded(f"{self._options.publish_buffer} batches wait for a connection already")
        limit_s = self._options.publish_timeout_s
        self._inside += 1
        self._nobody.clear()
        try:
            async with asyncio.timeout(limit_s), self._room:
                yield
        except TimeoutError as error:
            raise ConnectionLost(f"no answer within {limit_s:g} s; publishing the same ids again is safe") from error
        finally:
            self._inside -= 1
            if not self._inside:
                self._nobody.set()

    async def ended(self, within_s: float) -> bool:
        """Return True when no publish is inside any more, False after ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._nobody.wait()
        except TimeoutError:
            return False
        return True
