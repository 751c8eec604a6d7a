"""Several servers that are started, waited for and removed as one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.support.child_process import ProcessFailed
from tests.support.redis_server import RedisServer

_WITHIN_S = 20.0


class ServerGroup(ABC):
    """Redis servers that belong together, running inside its context."""

    servers: list[RedisServer]

    @abstractmethod
    def start(self) -> Self:
        """Start everything and return when it is ready."""

    def remove(self) -> None:
        """Stop everything and delete its folders."""
        for server in self.servers:
            server.process.kill()
            server.remove()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            with suppress(RuntimeError):
                self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _WITHIN_S
        while not ready():
            if time.monotonic() > deadline:
                raise ProcessFailed(f"did not come true within {_WITHIN_S:g} s: {what}")
            time.sleep(0.02)
