"""Commands on a Redis Cluster: each to the node that holds its key's slot, one write per node."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from partitioning.errors import RedisUnavailable
from partitioning.redis_commands import Command, Ending, Hear, Script, reply_of
from partitioning.redis_pipeline import RedisPipeline
from partitioning.redis_slots import Topology, slot_of
from partitioning.redis_url import Address, ManyHosts, text_of

_LEARN_S = 1.0
_PAUSE_S = 0.05
_REPEATED = (MovedError, AskError, TryAgainError, ClusterDownError, BusyLoadingError, ReadOnlyError)
_NOBODY = ClusterDownError("no node holds the slot")
_ASKING: Command = ("ASKING",)
_NO_PLACE = -1


@dataclass(slots=True)
class _Parcel:
    """What goes to one node in one write, with each command's place in the call."""

    places: list[int] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def add(self, place: int, command: Command) -> None:
        self.places.append(place)
        self.commands.append(command)


@dataclass(slots=True)
class _Repeats:
    """The commands of a call that must be sent again, and what their nodes said of where to."""

    places: list[int] = field(default_factory=list)
    asking: dict[int, Address] = field(default_factory=dict)
    moved: dict[int, Address] = field(default_factory=dict)
    outdated: bool = False

    def add(self, place: int, refusal: Exception, asked: Address | None) -> None:
        self.places.append(place)
        if isinstance(refusal, MovedError):  # to redis-py it is an AskError too
            self.moved[refusal.slot_id] = _redirect(refusal, asked)
        elif isinstance(refusal, AskError):
            self.asking[place] = _redirect(refusal, asked)
        self.outdated |= isinstance(refusal, MovedError) or not isinstance(refusal, (AskError, TryAgainError))


class RedisCluster:
    """Commands on a Redis Cluster. A call that meets the loss of a node raises RedisUnavailable; repeat it.

    The replies of one call are in the order asked. Commands run in order per key as long as no slot is moving: one
    that has to wait for a slot is repeated after those behind it. Commands without a key, PUBLISH among them, and
    listeners go to one primary, the same while the topology lasts. WAIT goes to each node that a command of the call
    went to, after those, and the smallest reply is returned.
    """

    def __init__(
        self, url: ManyHosts, scripts: Sequence[Script], *, connections: int = 4, timeout_s: float = 5.0
    ) -> None:
        self._url = url
        self._scripts = scripts
        self._connections = connections
        self._timeout_s = timeout_s
        self._links: dict[Address, RedisPipeline] = {}
        self._topology: Topology | None = None
        self._nodes = set(url.hosts)
        self._learning = asyncio.Lock()

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """See Commands."""
        if not commands:
            return []
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._run(commands)
        except TimeoutError:
            self._topology = None
            raise RedisUnavailable(f"the Redis Cluster did not do it within {self._timeout_s:g} s") from None

    async def one(self, command: Command) -> Any:
        """See Commands."""
        return reply_of(command, (await self.run([command]))[0])

    def can_tell(self) -> bool:
        """See Commands."""
        return self._topology is not None and self._link(self._topology.home).can_tell()

    def tell(self, commands: Sequence[Command]) -> bool:
        """See Commands. They go to the primary that commands without a key go to."""
        return self._topology is not None and self._link(self._topology.home).tell(commands)

    async def ready_to_tell(self) -> None:
        """See Commands."""
        topology = await self._current()
        try:
            await self._link(topology.home).ready_to_tell()
        except RedisUnavailable:
            self._forget(topology)
            raise

    @asynccontextmanager
    async def listening(
        self, channels: Sequence[str], hear: Hear, heard: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Ending]:
        """See Commands."""
        topology = await self._current()
        try:
            async with self._link(topology.home).listening(channels, hear, heard) as ending:
                yield ending
        except RedisUnavailable:
            self._forget(topology)
            raise

    async def primaries(self) -> list[Address]:
        """Return the address of every primary that holds slots. Raises RedisUnavailable."""
        return sorted((await self._current()).primaries)

    async def close(self) -> None:
        """Close all connections."""
        await self._close(list(self._links))

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        waits = {place for place, command in enumerate(commands) if command[0] == "WAIT"}
        repeats = _Repeats([place for place in range(len(commands)) if place not in waits])
        pause_s = 0.0
        while True:
            topology = await self._current()
            for slot, address in repeats.moved.items():
                topology.moved(slot, address)
            parcels, homeless = _sort(commands, repeats, waits, topology)
            repeats = _Repeats()
            for place in homeless:
                repeats.add(place, _NOBODY, None)
            answers = list(await self._ask(parcels, topology))
            done_by = {asked for place, reply, asked in answers if place not in waits and not _is_repeated(reply)}
            for place, reply, asked in answers:
                if place in waits:
                    # A node that did nothing for this call, a replica it may be, has nothing to be confirmed.
                    if asked in done_by or len(waits) == len(commands):
                        replies[place] = _fewer(replies[place], reply)
                elif _is_repeated(reply):
                    repeats.add(place, reply, asked)
                else:
                    replies[place] = reply
            if not repeats.places:
                return replies
            repeats.places.sort()
            if repeats.outdated:
                self._forget(topology)
            await asyncio.sleep(pause_s)
            pause_s = _PAUSE_S

    async def _ask(self, parcels: Mapping[Address, _Parcel], topology: Topology) -> Iterator[tuple[int, Any, Address]]:
        """Send all nodes what is theirs at once; return place, reply and node of each command."""
        answers: list[list[Any]] = []
        for replies in await self._send(parcels):
            if isinstance(replies, RedisUnavailable):
                self._forget(topology)
                raise replies
            answers.append(replies)
        return (
            (place, reply, address)
            for (address, parcel), replies in zip(parcels.items(), answers, strict=True)
            for place, reply in zip(parcel.places, replies, strict=True)
            if place != _NO_PLACE
        )

    async def _send(self, parcels: Mapping[Address, _Parcel]) -> list[list[Any] | RedisUnavailable]:
        if len(parcels) == 1:
            return [await self._deliver(*each) for each in parcels.items()]
        async with asyncio.TaskGroup() as tasks:
            sent = [tasks.create_task(self._deliver(*each)) for each in parcels.items()]
        return [task.result() for task in sent]

    async def _deliver(self, address: Address, parcel: _Parcel) -> list[Any] | RedisUnavailable:
        try:
            return await self._link(address).run(parcel.commands)
        except RedisUnavailable as error:
            return RedisUnavailable(f"{text_of(address)}: {error}")

    def _link(self, address: Address) -> RedisPipeline:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = RedisPipeline(
                self._url.server(address), self._scripts, connections=self._connections, timeout_s=self._timeout_s
            )
        return link

    async def _current(self) -> Topology:
        topology = self._topology
        if topology is not None:
            return topology
        async with self._learning:
            if self._topology is None:
                topology = await self._learn()
                self._topology = topology
                self._nodes = topology.nodes | set(self._url.hosts)
                await self._close(self._links.keys() - topology.primaries)
                return topology
            return self._topology

    def _forget(self, topology: Topology) -> None:
        if self._topology is topology:
            self._topology = None

    async def _learn(self) -> Topology:
        """Ask the nodes we know in any order, so that one with an old view is not believed for ever."""
        faults: list[str] = []
        for address in random.sample(sorted(self._nodes), len(self._nodes)):
            try:
                async with asyncio.timeout(_LEARN_S):
                    return Topology(await self._link(address).one(("CLUSTER", "SLOTS")), address)
            except (RedisUnavailable, TimeoutError, ValueError) as error:
                faults.append(f"{text_of(address)}: {error or 'time-out'}")
        raise RedisUnavailable(f"no node of the Redis Cluster tells who holds what: {'; '.join(faults)}")

    async def _close(self, addresses: Iterable[Address]) -> None:
        links = [self._links.pop(address) for address in addresses]
        await asyncio.gather(*(link.close() for link in links))


def _sort(
    commands: Sequence[Command], left: _Repeats, waits: Collection[int], topology: Topology
) -> tuple[dict[Address, _Parcel], list[int]]:
    """Return what goes to each node, and the places of the commands whose slot nobody holds."""
    parcels: dict[Address, _Parcel] = defaultdict(_Parcel)
    homeless: list[int] = []
    for place in left.places:
        address = left.asking.get(place) or topology.owner(slot_of(commands[place]))
        if address is None:
            homeless.append(place)
            continue
        if place in left.asking:
            parcels[address].add(_NO_PLACE, _ASKING)
        parcels[address].add(place, commands[place])
    for place in waits:
        for parcel in parcels.values() if parcels else [parcels[topology.home]]:
            parcel.add(place, commands[place])
    return parcels, homeless


def _is_repeated(reply: Any) -> bool:
    return isinstance(reply, _REPEATED)


def _fewer(one: Any, other: Any) -> Any:
    """Return the smaller of two replies to WAIT, or the one that is an error."""
    if one is None or isinstance(other, RedisError):
        return other
    return one if isinstance(one, RedisError) else min(one, other)


def _redirect(refusal: MovedError | AskError, asked: Address | None) -> Address:
    # An empty host means the one that answered.
    return refusal.host or (asked[0] if asked else ""), refusal.port
