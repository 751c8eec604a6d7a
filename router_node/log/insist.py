"""Calls to the log that must go through: repeated until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from router_node.log.port import LogUnavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def insist(call: Callable[[], Awaitable[T]], *, first_pause_s: float, longest_pause_s: float) -> T:
    """Repeat ``call``, which must be safe to repeat, until the log answers; pauses double up to the longest.

    Waits as long as the log is away; cancelling it is safe.
    """
    pause = first_pause_s
    while True:
        try:
            return await call()
        except LogUnavailable as error:
            log.warning("the log does not answer; trying again", error=str(error), pause_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest_pause_s)
