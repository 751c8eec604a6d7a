"""Counting what is under way, so that closing can wait for it."""

from __future__ import annotations

import asyncio


class UnderWay:
    """A context manager around each call; :meth:`ended` waits until none is inside."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def ended(self, within_s: float) -> bool:
        """Return True when no call is inside any more, False after ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._none.wait()
        except TimeoutError:
            return False
        return True
