"""Sending at a steady rate, and what the times between come to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Latencies(NamedTuple):
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    highest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latencies:
        """Summarise times in seconds, at least one."""
        ordered = sorted(seconds)
        last = len(ordered) - 1
        return cls(len(ordered), *(1000 * ordered[round(part * last)] for part in (0.5, 0.99, 1.0)))


async def at_rate(send: Callable[[T], Awaitable[object]], things: Iterable[T], per_s: float) -> float:
    """Send things one after another at a steady rate, waiting for no answer before the next; returns the rate reached.

    Raises what ``send`` raises, in a group. One that is late catches up: the rate holds, whatever a send takes.
    """
    began = time.monotonic()
    sent = 0
    async with asyncio.TaskGroup() as tasks:
        for sent, thing in enumerate(things, 1):
            late_s = time.monotonic() - began - (sent - 1) / per_s
            if late_s < 0:
                await asyncio.sleep(-late_s)
            tasks.create_task(send(thing))
    return sent / (time.monotonic() - began)
