"""From a URL to Redis: one server, Sentinel or Cluster."""

from __future__ import annotations

from collections.abc import Sequence

from partitioning.redis_commands import Commands, Script
from partitioning.redis_pipeline import RedisPipeline


def connect(url: str, scripts: Sequence[Script], *, connections: int = 16, timeout_s: float = 5.0) -> Commands:
    """Return the way to run commands at ``url``; nothing is connected yet."""
    return RedisPipeline(url, scripts, connections=connections, timeout_s=timeout_s)
