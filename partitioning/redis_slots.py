"""Which node of a Redis Cluster a command goes to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from partitioning.redis_commands import Argument, Command
from partitioning.redis_url import Address

_UNKNOWN_HOST = b"?"
_ANYWHERE = frozenset(("PUBLISH", "TIME", "SCRIPT", "PING", "ECHO", "INFO", "CLUSTER", "CONFIG", "ROLE", "FLUSHALL"))
_KEY_AFTER_SUBCOMMAND = frozenset(("XGROUP", "XINFO", "OBJECT", "MEMORY"))


def slot_of(command: Command) -> int | None:
    """Return the slot of a command's first key, None for a command that any node can answer.

    Only commands that the router sends are known; the server refuses one whose keys are of several slots.
    """
    name = command[0]
    if name in ("EVALSHA", "EVAL"):
        return _slot(command[3]) if command[2] else None
    if name in ("XREADGROUP", "XREAD"):
        return _slot(command[command.index("STREAMS") + 1])
    if name in _ANYWHERE:
        return None
    return _slot(command[2 if name in _KEY_AFTER_SUBCOMMAND else 1])


@lru_cache(maxsize=65_536)
def _slot(key: Argument) -> int:
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


class Topology:
    """The primaries of a Cluster as one node told of them at one time, put right by what others answer since."""

    def __init__(self, shards: Sequence[Any], asked: Address) -> None:
        """Read the reply to CLUSTER SLOTS by the node ``asked``. Raises ValueError when it names no primary."""
        self._owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self.nodes: set[Address] = set()
        for first, last, *members in shards:
            addresses = [_address(member[0], int(member[1]), asked) for member in members]
            self.nodes.update(address for address in addresses if address)
            self._owners[first : last + 1] = [addresses[0]] * (last - first + 1)
        self.primaries = {owner for owner in self._owners if owner is not None}
        if not self.primaries:
            raise ValueError("no node of the cluster has slots")
        self.home = min(self.primaries)

    def owner(self, slot: int | None) -> Address | None:
        """Return the primary that holds a slot, None when nobody does; for no slot, always the same primary."""
        return self.home if slot is None else self._owners[slot]

    def moved(self, slot: int, to: Address) -> None:
        """Take note of a slot that a node says is elsewhere."""
        self._owners[slot] = to
        self.primaries.add(to)
        self.nodes.add(to)


def _address(host: bytes | None, port: int, asked: Address) -> Address | None:
    if host == _UNKNOWN_HOST:
        return None
    return (host.decode() if host else asked[0]), port
