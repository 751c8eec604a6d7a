"""An event loop whose time is a FakeClock's: nothing waits, and what happens is the same every time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

from tests.support.clock import FakeClock

T = TypeVar("T")


class _NoWaiting(selectors.SelectSelector):
    """Lets the clock go on where a selector would wait; finds only what is ready already."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will not happen")
        if timeout > 0:
            self._clock.advance(timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs whatever is ready; only when nothing is, time goes on, to the next timer.

    No sockets, threads or child processes. Exceptions that nobody catches are kept in ``unhandled``.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_NoWaiting(clock))
        self._clock = clock
        self.unhandled: list[str] = []
        self.set_exception_handler(self._keep)

    def time(self) -> float:
        """Return the clock's time."""
        return self._clock.monotonic()

    def inside(self, function: Callable[[], T]) -> T:
        """Call a function that needs the loop to be running."""

        async def call() -> T:
            return function()

        return self.run_until_complete(call())

    def turn(self) -> None:
        """Let everything happen that can without time going on."""
        self.run_until_complete(asyncio.sleep(1e-6))

    def _keep(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.unhandled.append(f"{context['message']}: {context.get('exception')!r}")
