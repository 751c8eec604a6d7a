"""One embedded node for each test, served on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from router_node.node import embedded
from tests.edges.served import Served, served


@pytest.fixture
async def node() -> AsyncIterator[Served]:
    """A node served on a free port."""
    async with embedded() as running, served(running.engine, running.management) as server:
        yield server


@pytest.fixture
async def http(node: Served) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of ``node``."""
    async with aiohttp.ClientSession(node.url, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session
