"""From a URL to Redis: one server, Sentinel or Cluster."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from partitioning.redis_cluster import RedisCluster
from partitioning.redis_commands import Commands, Script
from partitioning.redis_pipeline import RedisPipeline
from partitioning.redis_sentinel import RedisSentinel
from partitioning.redis_url import CLUSTER_SCHEMES, SCHEMES, SENTINEL_SCHEMES, ManyHosts


def connect(url: str, scripts: Sequence[Script], *, connections: int = 4, timeout_s: float = 5.0) -> Commands:
    """Return the way to run commands at ``url``; nothing is connected yet.

    ``connections`` bounds those to one server, ``timeout_s`` each call. Raises ValueError for a URL that cannot be
    used, naming what is wrong with it.
    """
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"must start with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if scheme in SENTINEL_SCHEMES:
        return RedisSentinel(ManyHosts.parse(url), scripts, connections=connections, timeout_s=timeout_s)
    if scheme in CLUSTER_SCHEMES:
        return RedisCluster(ManyHosts.parse(url), scripts, connections=connections, timeout_s=timeout_s)
    return RedisPipeline(url, scripts, connections=connections, timeout_s=timeout_s)
