"""The same subscriptions on every node: a version in Redis, notices over pub/sub, and a look at the version each round.

The store holds the subscriptions; the version only says that they changed. A change is stored first and the version
raised after, so a node that reads the version and then the store never misses what the version stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from partitioning.errors import RedisUnavailable
from partitioning.keys import Keys
from partitioning.redis_commands import Commands, Script
from router_client.errors import Unavailable

RAISE_VERSION = Script.load("partitioning", "raise_version")
FIELD = "subscriptions"

log = structlog.get_logger(__name__)


class SubscriptionSync:
    """Keeps this node's subscriptions at the cluster's version, and waits for other nodes to be there too.

    ``reload`` takes up what the store holds; ``notify`` tells all nodes (kind, body); ``changed`` hears of it.
    """

    def __init__(
        self,
        commands: Commands,
        keys: Keys,
        reload: Callable[[], Awaitable[None]],
        notify: Callable[[str, Any], None],
        changed: Callable[[], None],
        wait_s: float,
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._reload = reload
        self._notify = notify
        self._changed = changed
        self._wait_s = wait_s
        self._behind = asyncio.Event()
        self._turn = asyncio.Lock()
        self._applied_by: dict[str, int] = {}
        self._progress = asyncio.Event()
        self.applied = self.known = 0

    @property
    def current(self) -> bool:
        """This node has every subscription it has heard of."""
        return self.applied >= self.known

    def saw(self, version: int) -> None:
        """Hear of the version in force."""
        if version > self.known:
            self.known = version
        if not self.current:
            self._behind.set()

    def applied_by(self, node: str, version: int) -> None:
        """Hear how far another node is."""
        if version > self._applied_by.get(node, 0):
            self._applied_by[node] = version
            self._progress.set()

    async def catch_up(self) -> None:
        """Take up the version in force. Raises Unavailable when the store is away."""
        async with self._turn:
            while not self.current:
                version = self.known
                await self._reload()
                self.applied = max(self.applied, version)
                self._changed()
                self._notify("subscriptions applied", self.applied)

    async def load(self) -> None:
        """Take up everything at the start. Raises RedisUnavailable and Unavailable."""
        self.known = await self._version()
        await self._reload()
        self.applied = self.known

    async def run(self) -> None:
        """Catch up whenever the version moves, until cancelled."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self.catch_up()
            except Unavailable as error:
                log.warning("subscriptions changed, and the store cannot tell how; trying again", error=str(error))
                self._behind.set()
                await asyncio.sleep(0.5)

    async def announce(self, members: Callable[[], Iterable[str]]) -> None:
        """Return when every live node has what was just stored.

        Raises Unavailable naming the nodes that have not in time; they take it up when they can.
        """
        try:
            version = int(await self._commands.one(RAISE_VERSION.call([self._keys.meta()], FIELD)))
        except RedisUnavailable as error:
            raise Unavailable(f"it is stored, but the nodes could not be told: {error}; do it again") from error
        self.saw(version)
        self._notify("subscriptions", version)
        missing = ["this one"]
        try:
            async with asyncio.timeout(self._wait_s):
                await self.catch_up()
                while missing := [node for node in members() if self._applied_by.get(node, 0) < version]:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError as error:
            who = ", ".join(sorted(missing))
            raise Unavailable(f"it is stored, but these nodes have not taken it up yet: {who}") from error

    async def look(self) -> None:
        """Read the version in force. Raises RedisUnavailable."""
        self.saw(await self._version())

    async def _version(self) -> int:
        return int(await self._commands.one(("HGET", self._keys.meta(), FIELD)) or 0)
