"""The log of a cluster as a client of Redis appends to it: what it has to know, and what it does when Redis is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from partitioning.errors import RedisUnavailable
from partitioning.growth import Growth
from partitioning.keys import Keys
from partitioning.limits import Limits
from partitioning.membership import Membership, Roster
from partitioning.redis_commands import Commands
from router_client.appending.intake import Accepted, Intake
from router_client.appending.placing import Placing
from router_client.appending.records import Answer, Moved, NewRecord, NotNow
from router_client.appending.redis_append import RedisAppend
from router_client.errors import ConnectionLost, EventRouterError, NotFound
from router_client.options import ClientOptions
from router_client.reconnect import Reconnector
from router_client.transports.admission import Admission

LOOK_EVERY_S = 1.0

Append = Callable[[Sequence[NewRecord]], Awaitable[list[Answer]]]


class DirectLog:
    """Reads and appends, and comes back when Redis was away.

    An append that meets that waits for Redis and is made again, before anything newer, so that the order holds; the
    events' ids keep it from being made twice. It waits for ``publish_timeout_s`` at most, or not at all, as the options
    say. ``admission`` is told whether there is a connection.
    """

    def __init__(self, commands: Commands, keys: Keys, options: ClientOptions, admission: Admission) -> None:
        self._commands = commands
        self._keys = keys
        self._growth = Growth(commands, keys)
        self._options = options
        self._admission = admission
        self._reconnector = Reconnector(options.backoff, options.max_reconnect_s)
        self._placing: Placing | None = None
        self._limits: Limits | None = None
        self._clock_ahead_us = 0
        self._look_at = self._lost_at = 0.0
        self._moved_before = 0
        self._connected = asyncio.Event()
        self._gone = asyncio.Event()
        self._over: EventRouterError | None = None

    async def open(self) -> None:
        """Read what has to be known. Raises RedisUnavailable, and NotFound when no node has ever started there."""
        plan, limits = await self._growth.plan(), await self._growth.limits()
        if plan is None and self._placing is None:
            raise NotFound(
                f"there is no cluster {self._keys.cluster} on this Redis; start a node with ER_CLUSTER="
                f"{self._keys.cluster}, or name another with ?cluster=",
                field="cluster",
            )
        seconds, micros = await self._commands.one(("TIME",))
        self._clock_ahead_us = int(seconds) * 1_000_000 + int(micros) - _now_us()
        if plan is not None:  # a Redis that has lost it is told again by the nodes; what was known holds till then
            placing = self._placing = self._placing or Placing(plan, limits.dedup_ms / 1000)
            placing.learned(plan)
            if limits != self._limits:
                self._take_up(placing, limits)
        self._admission.connected = True
        self._gone.clear()
        self._connected.set()

    def _take_up(self, placing: Placing, limits: Limits) -> None:
        self._limits = limits
        self._intake = Intake(placing.routes.partition_of, self._log_us, limits.event_bytes)
        self._appends = RedisAppend(self._commands.run, self._keys, limits, placing.former, {})

    async def run(self) -> None:
        """Come back whenever Redis was away, until cancelled. Raises ConnectionLost after ``max_reconnect_s``."""
        await self._reconnector.run(self._session)

    async def _session(self) -> None:
        if not self._connected.is_set():
            try:
                await self.open()
            except RedisUnavailable as error:
                raise ConnectionLost(str(error)) from error
        self._reconnector.succeeded()
        await self._gone.wait()
        raise ConnectionLost("Redis did not answer")

    def end(self, error: EventRouterError) -> None:
        """Have everything that waits, now or later, fail with ``error``."""
        self._over = self._over or error
        self._connected.set()

    async def connected(self) -> None:
        """Return when there is a connection. Raises what :meth:`end` was given."""
        await self._connected.wait()
        if self._over is not None:
            raise self._over

    def read(self, body: object) -> Accepted:
        """Take an event as a node does; see Intake."""
        return self._intake.read(body)

    def relocate(self, record: NewRecord, moved: Moved) -> NewRecord:
        """Find where a record goes now."""
        assert self._placing is not None  # noqa: S101 - open
        return self._placing.relocate(record, moved)

    async def append(self, records: Sequence[NewRecord]) -> list[Answer]:
        """Append; one answer per record. Raises ConnectionLost when the outcome is unknown."""
        return await self._insist(records, lambda part: self._appends.append(part))

    async def append_replicated(self, records: Sequence[NewRecord]) -> list[Answer]:
        """As append, once the replicas have it too."""
        return await self._insist(records, lambda part: self._appends.append_replicated(part))

    async def members(self) -> Roster:
        """Return which nodes live. Raises RedisUnavailable."""
        lease_ms = (self._limits or Limits()).lease_ms
        return await Membership(self._commands, self._keys, "", lease_ms).look()

    async def _insist(self, records: Sequence[NewRecord], append: Append) -> list[Answer]:
        answers: list[Answer] = [False] * len(records)
        due = list(range(len(records)))
        while True:
            await self._back()
            try:
                await self._follow_growth()
                made = await append([records[index] for index in due])
            except RedisUnavailable as error:
                self._lost()
                if self._options.while_disconnected == "fail":
                    raise ConnectionLost(str(error)) from error
                continue
            for index, answer in zip(due, made, strict=True):
                answers[index] = answer
            due = [index for index in due if isinstance(answers[index], NotNow)]
            if due:
                self._lost()
            if not due or self._options.while_disconnected == "fail":
                return answers

    async def _back(self) -> None:
        """Wait for a connection as long as anybody can be waiting who published before it was lost."""
        if self._connected.is_set() and self._over is None:
            return
        limit_s = self._options.publish_timeout_s
        try:
            async with asyncio.timeout_at(self._lost_at + limit_s):
                await self.connected()
        except TimeoutError as error:
            raise ConnectionLost(f"Redis did not answer within {limit_s:g} s; publish again") from error

    def _lost(self) -> None:
        if self._over is None and self._connected.is_set():
            self._lost_at = asyncio.get_running_loop().time()
            self._admission.connected = False
            self._connected.clear()
            self._gone.set()

    async def _follow_growth(self) -> None:
        """Read the plan again while partitions are being added, so that ids are not asked about for ever."""
        placing = self._placing
        assert placing is not None  # noqa: S101 - open
        if not placing.plan.target and placing.moved == self._moved_before:
            return
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        moved, plan = placing.moved, await self._growth.plan()
        if plan is not None:
            placing.learned(plan)
            self._moved_before = moved

    def _log_us(self) -> int:
        return _now_us() + self._clock_ahead_us


def _now_us() -> int:
    return time.monotonic_ns() // 1000
