"""A real node with its edges, on SQLite and the memory log or Redis, inside the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from router_node.config import Settings
from router_node.node import run


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[str]:
    """Run a real node with its edges on a free port and give its host and port; security is off unless turned on."""
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    usual = {"listen": "127.0.0.1:0", "database_url": "sqlite:///:memory:", "security": "off"}
    chosen = Settings(**{**usual, **settings})
    async with asyncio.TaskGroup() as tasks:
        node = tasks.create_task(run(chosen, stop, address.set_result))
        await asyncio.wait([node, address], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield (await address).rpartition("//")[2]
        finally:
            stop.set()
