"""Membership: which nodes live, by heartbeats on Redis's clock.

A node that is silent for longer than its time to live is no member any more; nobody has to notice and say so. Nodes
compare no clocks: each time is Redis's own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from partitioning.keys import Keys
from partitioning.redis_commands import Commands, Script

HEARTBEAT = Script.load("partitioning", "heartbeat")
FORGET_MS = 10 * 60 * 1000
_DRAIN = "drain "


class NameTaken(Exception):
    """Another node lives under this node's id; it must end, or be silent for its time to live, first."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node as it last told of itself. ``incarnation`` differs from start to start; ``details`` is for operators."""

    node: str
    incarnation: str
    silent_ms: int
    draining: bool
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Roster:
    """The members at one moment, ``now_us`` by Redis's clock; ``gone`` were heard of within the last ten minutes."""

    now_us: int = 0
    members: Mapping[str, Member] = field(default_factory=dict)
    gone: Mapping[str, Member] = field(default_factory=dict)

    def placed(self) -> list[str]:
        """Return the nodes that partitions may be placed on, sorted: those that live and do not drain."""
        return sorted(node for node, member in self.members.items() if not member.draining)


class Membership:
    """One node's part in the cluster. All methods raise RedisUnavailable when Redis is away."""

    def __init__(self, commands: Commands, keys: Keys, node_id: str, ttl_ms: int) -> None:
        self._commands = commands
        self._keys = keys
        self.node_id = node_id
        self._ttl_ms = ttl_ms
        self.incarnation = secrets.token_hex(6)

    async def beat(self, details: Mapping[str, Any]) -> Roster:
        """Say that this node lives, and return who does. ``details["draining"]`` takes it out of the placement.

        Raises NameTaken when another node lives under this id.
        """
        return await self._call(self.node_id, details)

    async def look(self) -> Roster:
        """Return who lives, without a word about this node."""
        return await self._call("", {})

    async def leave(self) -> None:
        """Be no member any more, at once."""
        await self._commands.one(("HDEL", self._keys.nodes(), self.node_id, _DRAIN + self.node_id))

    async def ask_to_drain(self, node: str, now_us: int) -> None:
        """Have a node give up its partitions; it stays a member that serves its clients."""
        await self._commands.one(("HSET", self._keys.nodes(), _DRAIN + node, str(now_us // 1000)))

    async def ask_to_work(self, node: str) -> None:
        """Take back what :meth:`ask_to_drain` asked."""
        await self._commands.one(("HDEL", self._keys.nodes(), _DRAIN + node))

    async def _call(self, node: str, details: Mapping[str, Any]) -> Roster:
        text = json.dumps(details)
        call = HEARTBEAT.call([self._keys.nodes()], node, self.incarnation, self._ttl_ms, FORGET_MS, text)
        taken, told, *fields = await self._commands.one(call)
        if not taken:
            raise NameTaken(f"a node named {node} lives already ({told.decode()}); give ER_NODE_ID another name")
        pairs = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
        return self._roster(int(told), pairs)

    def _roster(self, now_us: int, pairs: Mapping[str, str]) -> Roster:
        members: dict[str, Member] = {}
        gone: dict[str, Member] = {}
        for name, value in pairs.items():
            if name.startswith(_DRAIN):
                continue
            heard_ms, incarnation, text = value.split(" ", 2)
            details = json.loads(text)
            silent_ms = now_us // 1000 - int(heard_ms)
            draining = bool(details.get("draining")) or _DRAIN + name in pairs
            member = Member(name, incarnation, silent_ms, draining, details)
            (members if silent_ms <= self._ttl_ms else gone)[name] = member
        return Roster(now_us, members, gone)
