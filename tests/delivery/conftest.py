"""Bounds so small that a few events reach them, for the model of delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import structlog
from structlog.typing import EventDict

from router_node import pipeline
from router_node.delivery import lane, window
from router_node.flow import deliver, persist, read, settle
from router_node.routing import registry

BOUNDS = [
    (window, "MEMORY_EVENTS", 10),
    (window, "LANE_EVENTS", 16),
    (lane, "CROWDED_EVENTS", 3),
    (deliver, "WAITING_AT_MOST", 6),
    (deliver, "REST_AFTER_S", 0.2),
    (registry, "LOOKED_AT_ONCE", 1),
    (settle, "UNSETTLED_EVENTS", 12),
    (settle, "STEPS_AT_ONCE", 2),
    (settle, "FETCHES_AT_ONCE", 2),
    (settle, "FETCH_EVENTS", 3),
    (settle, "GATHER_ENTRIES", 3),
    (persist, "GATHER_EVENTS", 3),
    (read, "ENTRIES_AT_ONCE", 2),
    (read, "PENDING_AT_ONCE", 2),
    (pipeline, "TICK_S", 0.25),
]


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make every bound small, have the reader go by the loop's time, and log nothing."""
    for module, name, bound in BOUNDS:
        monkeypatch.setattr(module, name, bound)
    monkeypatch.setattr(read, "time", SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time()))
    before = structlog.get_config()
    structlog.configure(processors=[_nothing], logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.configure(**before)


def _nothing(logger: object, method: str, event: EventDict) -> EventDict:
    raise structlog.DropEvent
