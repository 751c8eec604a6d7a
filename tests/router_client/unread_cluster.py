"""A cluster in Redis that takes appends and has no node: what clients append stays where they put it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from partitioning.growth import GROWTH_SCRIPTS, Growth
from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases
from partitioning.limits import Limits
from partitioning.redis_connect import connect
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_streams import STREAM_SCRIPTS, RedisStreams

P = 4


@asynccontextmanager
async def cluster_at(url: str, limits: Limits = Limits(), partitions: int = P) -> AsyncIterator[None]:  # noqa: B008
    """Have a cluster that takes appends and has nobody who reads them."""
    keys = Keys("default")
    commands = connect(url, [*STREAM_SCRIPTS, *LEASE_SCRIPTS, *GROWTH_SCRIPTS])
    try:
        await Growth(commands, keys, limits).propose(partitions)
        tokens = await Leases(commands, keys, "nobody", 60_000).acquire(range(partitions))
        streams = RedisStreams(RedisCalls(commands), keys, tokens)
        for partition in range(partitions):
            begun = await streams.begin(partition)
            await streams.open(partition, begun.generation)  # type: ignore[union-attr]
        yield
    finally:
        await commands.close()


async def in_streams(url: str, partitions: int = P) -> list[str]:
    """Return the ids of all events in the ingest streams, each stream in its order."""
    commands = connect(url, [])
    try:
        streams = [Keys("default").ingest(p, level) for p in range(partitions) for level in range(10)]
        entries = await commands.run([("XRANGE", stream, "-", "+") for stream in streams])
    finally:
        await commands.close()
    return [orjson.loads(body)["id"] for stream in entries for _, fields in stream for body in fields[3::2]]
