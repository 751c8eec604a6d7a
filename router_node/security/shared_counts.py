"""What all nodes of a cluster count together, in Redis: tokens of buckets, and connections."""

from __future__ import annotations

from hashlib import blake2s

from partitioning.keys import Keys
from partitioning.redis_commands import Commands, Script
from router_node.security.seats import LIVES_S

TAKE = Script.load("router_node.security", "take_tokens")
SEAT = Script.load("router_node.security", "take_seat")
COUNT_SCRIPTS = (TAKE, SEAT)


class SharedTokens:
    """See rates.Tokens."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        self._commands = commands
        self._keys = keys

    async def take(self, action: str, principal: str, rate: float, wanted: int) -> int:
        """See rates.Tokens. Raises RedisUnavailable."""
        key = self._keys.tokens(action, digest(principal))
        return int(await self._commands.one(TAKE.call([key], repr(rate), wanted)))


class SharedSeats:
    """See seats.Count."""

    def __init__(self, commands: Commands, keys: Keys, node_id: str) -> None:
        self._commands = commands
        self._keys = keys
        self._node_id = node_id

    async def take(self, principal: str, mine: int, limit: int | None) -> bool:
        """See seats.Count. Raises RedisUnavailable."""
        allowed, lives_ms = -1 if limit is None else limit, int(LIVES_S * 1000)
        key = self._keys.seats(digest(principal))
        return bool(await self._commands.one(SEAT.call([key], self._node_id, mine, allowed, lives_ms)))


def digest(principal: str) -> str:
    """Return what stands for a principal in a key: its name may be long, and of any characters."""
    return blake2s(principal.encode(), digest_size=16).hexdigest()
