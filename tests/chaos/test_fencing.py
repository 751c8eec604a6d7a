"""An owner that lost its lease and does not know it can change nothing, and the tests would notice if it could."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha1

import pytest
from redis.asyncio import Redis

from partitioning import growth, leases
from partitioning.growth import Growth
from partitioning.keys import Keys
from partitioning.leases import Leases
from partitioning.redis_commands import Script
from partitioning.redis_connect import connect
from router_node.log import redis_lanes, redis_streams
from router_node.log.port import Begun, Entry, LaneKey, LaneStep, NewRecord, Position, RetryState, Spill
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_lanes import RedisLanes
from router_node.log.redis_streams import RedisStreams
from stores.ports import DeadLetter

P = 3
KEYS = Keys("default")
LANE, FULL = LaneKey(P, "late", 5), LaneKey(P, "full", 5)
LETTER = DeadLetter(
    id="",
    subscription="late",
    partition=P,
    reason="rejected",
    error="",
    attempts=1,
    accepted_at_us=1,
    dead_at_us=2,
    event_id="id",
    event_type="a.b",
    body=b"{}",
)
SPILL = Spill(Position(7, 1), 1, b"x")
GUARD = b"if redis.call('GET', KEYS[1]) ~= ARGV[1] then"
FENCED = [
    *((redis_streams, name) for name in ("READ", "SETTLE", "BEGIN", "FEED", "OPEN")),
    *((redis_lanes, name) for name in ("STEP", "DISCARD")),
    *((growth, name) for name in ("SEAL", "PASS_FENCE", "CLEAR_OWED")),
    *((leases, name) for name in ("RENEW", "RELEASE")),
]


@dataclass
class Stale:
    """A node's view of a partition that another one has taken over, with an entry it had read and one it had not."""

    redis: Redis
    streams: RedisStreams
    lanes: RedisLanes
    leases: Leases
    growth: Growth
    tokens: dict[int, str]
    entry: Entry

    async def state(self) -> dict[bytes, object]:
        """Return all that is in Redis, with the time the leases have left, to the nearest ten seconds."""
        return {
            key: (await self.redis.dump(key), round(await self.redis.pttl(key), -4))
            for key in sorted(await self.redis.keys())
        }


@asynccontextmanager
async def stale_owner(redis_url: str, *, moved_server: bool) -> AsyncIterator[Stale]:
    unfenced = [redis_streams.APPEND, leases.ACQUIRE]
    commands = connect(redis_url, [*unfenced, *(getattr(module, name) for module, name in FENCED)])
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        node = Leases(commands, KEYS, "paused", 20_000)
        tokens = await node.acquire([P])
        calls = RedisCalls(commands)
        streams, lanes = RedisStreams(calls, KEYS, tokens), RedisLanes(calls, KEYS, tokens)
        begun = await streams.begin(P)
        assert isinstance(begun, Begun)
        await streams.open(P, begun.generation)
        await lanes.step([LaneStep(FULL, spill=[SPILL])])
        await streams.append([NewRecord(P, 5, None, b'{"n":0}', table=8)])
        (entry,) = await streams.read([(P, 5)], 10)
        await growth.Growth(commands, KEYS).seal(tokens, 8)
        await redis.sadd(KEYS.owed(P), "paid:5")
        if moved_server:
            await redis.hset(KEYS.position(P), "run", "another server")
        await streams.append([NewRecord(P, 5, None, b'{"n":1}', table=8)])
        await redis.delete(KEYS.lease(P))
        await Leases(commands, KEYS, "owner", 60_000).acquire([P])
        try:
            yield Stale(redis, streams, lanes, node, growth.Growth(commands, KEYS), tokens, entry)
        finally:
            await commands.close()


@contextmanager
def unguarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the comparison with the lease out of every script that is fenced."""
    with monkeypatch.context() as patch:
        for module, name in FENCED:
            script: Script = getattr(module, name)
            assert script.source.count(GUARD) == 1
            source = script.source.replace(GUARD, b"if false then")
            patch.setattr(module, name, Script(source, sha1(source).hexdigest()))
        yield


CHANGES: dict[str, Callable[[Stale], Awaitable[object]]] = {
    # Read by a former owner, an entry is pending for the consumer that all owners are, and not new to the present one.
    "read": lambda node: node.streams.read([(P, 5)], 10),
    "settle": lambda node: node.streams.settle([node.entry]),
    "spill": lambda node: node.lanes.step([LaneStep(LANE, spill=[SPILL])]),
    "retry": lambda node: node.lanes.step([LaneStep(LANE, retry={b"1-1": RetryState(1, 1, "")}, spill=[SPILL])]),
    "bury": lambda node: node.lanes.step([LaneStep(LANE, dead=[LETTER])]),
    "discard": lambda node: node.lanes.discard(FULL),
    "begin": lambda node: node.streams.begin(P),
    "feed": lambda node: node.streams.feed(P, [(5, SPILL._replace(kept="e1"))]),
    "open": lambda node: node.streams.open(P, 1),
    "seal": lambda node: node.growth.seal(node.tokens, 16),
    "pass": lambda node: node.growth.pass_fence(P, 5, node.tokens[P], 8, b"1-1"),
    "clear": lambda node: node.growth.clear(P, node.tokens[P], ["paid:5"]),
    "renew": lambda node: node.leases.renew(node.tokens),
    "release": lambda node: node.leases.release(node.tokens),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_owner_that_lost_its_lease_changes_nothing(
    change: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning = change == "begin"  # only a server that is another one gives it something to do
    async with stale_owner(redis_url, moved_server=beginning) as node:
        before = await node.state()
        await CHANGES[change](node)
        assert await node.state() == before

    with unguarded(monkeypatch):
        async with stale_owner(redis_url, moved_server=beginning) as node:
            before = await node.state()
            await CHANGES[change](node)
            assert await node.state() != before, "this test would not notice that the check is gone"
