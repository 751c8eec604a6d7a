"""Tokens of buckets that all nodes of a cluster share, in Redis."""

from __future__ import annotations

from hashlib import blake2s

from partitioning.keys import Keys
from partitioning.redis_commands import Commands, Script

TAKE = Script.load("router_node.security", "take_tokens")
RATE_SCRIPTS = (TAKE,)


class SharedTokens:
    """See rates.Tokens."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        self._commands = commands
        self._keys = keys

    async def take(self, action: str, principal: str, rate: float, wanted: int) -> int:
        """See rates.Tokens. Raises RedisUnavailable."""
        key = self._keys.tokens(action, digest(principal))
        return int(await self._commands.one(TAKE.call([key], repr(rate), wanted)))


def digest(principal: str) -> str:
    """Return what stands for a principal in a key: its name may be long, and of any characters."""
    return blake2s(principal.encode(), digest_size=16).hexdigest()
