"""Leases: the right to change a partition's state, held for a bounded time and fenced by an epoch.

A token is ``"<node id> <epoch>"``. Every script that changes a partition's state compares the token with the lease in
the same atomic step, so a node that was paused beyond its lease and wakes up can change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib.resources import files

from redis.asyncio import Redis

from partitioning.keys import Keys


class Leases:
    """Takes, prolongs and gives back the leases of one node. Time is Redis's own; no node's clock is trusted.

    All methods raise redis-py's errors when Redis is away; what was changed by then is found out by the next call.
    """

    def __init__(self, redis: Redis, keys: Keys, node_id: str, lease_ms: int = 3000) -> None:
        self._redis = redis
        self._keys = keys
        self._node_id = node_id
        self._lease_ms = lease_ms
        self._acquire = redis.register_script(_source("acquire"))
        self._renew = redis.register_script(_source("renew"))
        self._release = redis.register_script(_source("release"))

    async def acquire(self, partitions: Collection[int]) -> dict[int, str]:
        """Return our tokens for those partitions whose lease was free."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in partitions:
                keys = [self._keys.lease(partition), self._keys.epoch(partition)]
                await self._acquire(keys=keys, args=[self._node_id, self._lease_ms], client=pipe)
            answers = await pipe.execute()
        return {p: _text(token) for p, (taken, token) in zip(partitions, answers, strict=True) if taken}

    async def renew(self, tokens: Mapping[int, str]) -> set[int]:
        """Prolong, and return the partitions whose lease is no longer ours."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition, token in tokens.items():
                await self._renew(keys=[self._keys.lease(partition)], args=[token, self._lease_ms], client=pipe)
            answers = await pipe.execute()
        return {p for p, held in zip(tokens, answers, strict=True) if not held}

    async def release(self, tokens: Mapping[int, str]) -> None:
        """Give leases back, so that the next owner can start at once."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition, token in tokens.items():
                await self._release(keys=[self._keys.lease(partition)], args=[token], client=pipe)
            await pipe.execute()


@lru_cache(maxsize=4096)
def epoch_of(token: str) -> int:
    """Return the epoch in a fencing token."""
    return int(token.rpartition(" ")[2])


def _source(name: str) -> str:
    return (files("partitioning") / "lua" / f"{name}.lua").read_text()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
