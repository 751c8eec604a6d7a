"""What outlasts a request, looked at each second: its credential may be over, or allow less than it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 1.0
LOOKED_AT_ONCE = 500


class Watch:
    """Calls the ``look`` of each open connection, stream and waiting pull; what a look finds, it does itself."""

    def __init__(self) -> None:
        self._looks: dict[object, Callable[[], None]] = {}

    @contextmanager
    def over(self, look: Callable[[], None]) -> Iterator[None]:
        """Have ``look`` called each second while the context lasts; it does not wait, and does not fail."""
        key = object()
        self._looks[key] = look
        try:
            yield
        finally:
            del self._looks[key]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for count, key in enumerate(list(self._looks), 1):
                look = self._looks.get(key)
                if look is not None:
                    look()
                if count % LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
