"""A command's coroutine in the foreground of a terminal: Ctrl-C ends it where it awaits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end; the first Ctrl-C cancels it as a step of the loop, a second one interrupts it anywhere.

    ``asyncio.run`` alone cancels between any two instructions, so that a library which looks whether a future is
    done and then sets its result fails half-way. Raises what ``work`` raises, and KeyboardInterrupt after a Ctrl-C.
    """
    interrupted = False

    async def interruptible() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            loop.remove_signal_handler(signal.SIGINT)
            if task is not None:
                task.cancel()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        return await work

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
