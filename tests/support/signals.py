"""Waiting for what another process does, where there is no event to await."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_POLL_S = 0.01


async def wait_for(predicate: Callable[[], bool | Awaitable[bool]], timeout_s: float, what: str) -> None:
    """Poll ``predicate`` until it is true; one look is always taken, and one that hangs is cut off at the timeout.

    Only for observing other processes: inside this one, await the event itself. Raises AssertionError naming ``what``
    after ``timeout_s``; what the predicate raises is raised at once.
    """
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            while not await _value(predicate):
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


async def _value(predicate: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = predicate()
    return await answer if inspect.isawaitable(answer) else answer
