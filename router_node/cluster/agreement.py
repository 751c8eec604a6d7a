"""All nodes of a cluster store events, or none does: a node that is set otherwise than those that live may not join.

A partition's owner decides whether its events are stored, so nodes that disagreed would store some and lose others.
What the cluster does is kept in Redis; it is changed by stopping all nodes and starting them with another ``persist``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import structlog

from partitioning.keys import Keys
from partitioning.membership import Member, Membership, Roster
from partitioning.redis_commands import Commands
from router_client.errors import Unavailable

LOOK_S = 0.2
SKEW_US = 5_000_000
"""How far the clocks of two servers of a Redis Cluster may be apart: one accepts events, another notes the change."""

log = structlog.get_logger(__name__)


class Disagreement(Exception):
    """Nodes of this cluster live that are set otherwise; the message names them."""


class Agreement:
    """One node's part in it. ``odd`` says that the cluster was changed while this node was taken for dead.

    All methods raise RedisUnavailable when Redis is away.
    """

    def __init__(self, membership: Membership, commands: Commands, keys: Keys, persist: str, lease_s: float) -> None:
        self._membership = membership
        self._commands = commands
        self._meta = keys.meta()
        self._persist = persist
        self._lease_s = lease_s
        self._noted = ""
        self.odd = False

    @property
    def stands_for(self) -> str:
        """What this node tells the others it is set to; nothing, once it is the odd one."""
        return "" if self.odd else self._persist

    @property
    def fault(self) -> str:
        """What is wrong with the odd one."""
        return f'persist is "{self._persist}" here and another in the cluster by now; restart this node with that'

    async def wait(self) -> None:
        """Return when no node lives that is set otherwise; one that has gone silent is given a lease to come back.

        Raises Disagreement when one still lives then.
        """
        give_up_at = time.monotonic() + self._lease_s + 1.0
        while True:
            roster = await self._membership.look()
            living, silent = self._others(roster.members.values()), self._others(roster.gone.values())
            if not living and not silent:
                return
            if time.monotonic() > give_up_at:
                break
            await asyncio.sleep(LOOK_S)
        if living:
            raise self._disagreement(living)
        log.warning("these nodes store otherwise, are silent and taken for dead", nodes=[each.node for each in silent])

    async def join(self, roster: Roster) -> int:
        """Settle it, having become a member; returns until when events were accepted that are stored whatever the
        setting, in µs of Redis's time.

        Raises Disagreement, having left again, when a node that is set otherwise joined at the same time.
        """
        if others := self._others(roster.members.values()):
            await self._membership.leave()
            raise self._disagreement(others)
        noted = await self._read()
        if noted is None:
            self._noted = f"{self._persist} {roster.now_us}"
        elif noted.split()[0] == self._persist:
            self._noted = noted
        else:
            log.warning("whether events are stored is changed for the cluster", persist=self._persist)
            self._noted = f"{self._persist} {roster.now_us + SKEW_US}"
        if noted != self._noted:
            await self._commands.one(("HSET", self._meta, "persist", self._noted))
        return int(self._noted.split()[1])

    async def look(self) -> None:
        """Find out whether this still holds, and tell a Redis that has lost it. Raises Unavailable when it does not."""
        noted = await self._read()
        if noted is None:
            await self._commands.one(("HSETNX", self._meta, "persist", self._noted))
            return
        self.odd = noted.split()[0] != self._persist
        if self.odd:
            raise Unavailable(self.fault)

    async def _read(self) -> str | None:
        noted = await self._commands.one(("HGET", self._meta, "persist"))
        return noted.decode() if noted else None

    def _others(self, members: Iterable[Member]) -> list[Member]:
        return [
            each
            for each in members
            if each.node != self._membership.node_id and each.details.get("persist", "all") not in ("", self._persist)
        ]

    def _disagreement(self, others: list[Member]) -> Disagreement:
        told = ", ".join(f'{each.node} with persist = "{each.details["persist"]}"' for each in others)
        return Disagreement(f'persist (ER_PERSIST) is "{self._persist}" here, and there live in this cluster: {told}')
