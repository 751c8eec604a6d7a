"""The tutorial's router: embedded, one for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from router_client import EventRouterClient


@pytest.fixture
async def client() -> AsyncIterator[EventRouterClient]:
    async with EventRouterClient("memory://") as client:
        yield client
