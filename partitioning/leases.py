"""Leases: the right to change a partition's state, held for a bounded time and fenced by an epoch.

A token is ``"<node id> <epoch>"``. Every script that changes a partition's state compares the token with the lease in
the same atomic step, so a node that was paused beyond its lease and wakes up can change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from partitioning.keys import Keys
from partitioning.redis_commands import Commands, Script, run_all

ACQUIRE = Script.load("partitioning", "acquire")
RENEW = Script.load("partitioning", "renew")
RELEASE = Script.load("partitioning", "release")
LEASE_SCRIPTS = (ACQUIRE, RENEW, RELEASE)


class Leases:
    """Takes, prolongs and gives back the leases of one node. Time is Redis's own; no node's clock is trusted.

    All methods raise RedisUnavailable when Redis is away; what was changed by then is found out by the next call.
    """

    def __init__(self, commands: Commands, keys: Keys, node_id: str, lease_ms: int = 3000) -> None:
        self._commands = commands
        self._keys = keys
        self._node_id = node_id
        self._lease_ms = lease_ms

    async def acquire(self, partitions: Collection[int]) -> dict[int, str]:
        """Return our tokens for those partitions whose lease was free, or held by this node before."""
        answers = await run_all(
            self._commands,
            [
                ACQUIRE.call([self._keys.lease(p), self._keys.epoch(p)], self._node_id, self._lease_ms)
                for p in partitions
            ],
        )
        return {p: token.decode() for p, (taken, token) in zip(partitions, answers, strict=True) if taken}

    async def renew(self, tokens: Mapping[int, str]) -> set[int]:
        """Prolong, and return the partitions whose lease is no longer ours, or whose server is another one now."""
        answers = await run_all(
            self._commands,
            [RENEW.call([self._keys.lease(p), self._keys.position(p)], t, self._lease_ms) for p, t in tokens.items()],
        )
        return {p for p, held in zip(tokens, answers, strict=True) if not held}

    async def release(self, tokens: Mapping[int, str]) -> None:
        """Give leases back, so that the next owner can start at once."""
        await run_all(self._commands, [RELEASE.call([self._keys.lease(p)], token) for p, token in tokens.items()])

    async def tokens(self, partitions: Collection[int]) -> dict[int, str]:
        """Return the token in force of each partition that somebody owns."""
        answers = await run_all(self._commands, [("GET", self._keys.lease(p)) for p in partitions])
        return {p: token.decode() for p, token in zip(partitions, answers, strict=True) if token}

    async def holders(self, partitions: Collection[int]) -> dict[int, str]:
        """Return the node that owns each partition that somebody owns."""
        return {p: holder_of(token) for p, token in (await self.tokens(partitions)).items()}


@lru_cache(maxsize=4096)
def epoch_of(token: str) -> int:
    """Return the epoch in a fencing token."""
    return int(token.rpartition(" ")[2])


def holder_of(token: str) -> str:
    """Return the node in a fencing token."""
    return token.rpartition(" ")[0]
