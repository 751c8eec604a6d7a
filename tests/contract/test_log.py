"""One suite for the logs: what the flow relies on, said once and held against memory, Redis and a Redis Cluster.

The Cluster refuses every command whose keys are of several slots, so passing there also shows that there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from msgspec import structs

from partitioning.keys import Keys
from partitioning.leases import LEASE_SCRIPTS, Leases
from partitioning.redis_cluster import RedisCluster
from partitioning.redis_commands import Commands
from partitioning.redis_connect import connect
from router_client.errors import Overloaded
from router_node.log.memory import MemoryLog
from router_node.log.port import (
    NOWHERE,
    SCHEDULE,
    Begun,
    Closed,
    Due,
    DurableLanes,
    Entry,
    Generations,
    IngestLog,
    LaneKey,
    LaneStep,
    LaneStepped,
    LostPartition,
    NewRecord,
    Position,
    RetryState,
    Spill,
)
from router_node.log.redis_calls import RedisCalls
from router_node.log.redis_lanes import LANE_SCRIPTS, RedisLanes
from router_node.log.redis_streams import STREAM_SCRIPTS, RedisStreams, read_brought
from stores.dead_letters import RedisDeadLetters
from stores.open import open_database
from stores.ports import DeadLetter, DeadLetters, LetterFilter
from tests.support.redis_cluster import RedisClusterServers

P = 3
LIMIT = 50
SHARED = pytest.mark.parametrize("logs", ["redis", "cluster"], indirect=True)


@dataclass
class Logs:
    ingest: IngestLog
    lanes: DurableLanes
    letters: DeadLetters
    generations: Generations
    commands: Commands | None = None

    @property
    def redis(self) -> Commands:
        assert self.commands is not None
        return self.commands


async def opened(generations: Generations) -> None:
    for partition in range(8):
        begun = await generations.begin(partition)
        assert isinstance(begun, Begun)
        assert await generations.open(partition, begun.generation) is None


@pytest.fixture(params=["memory", "redis", "cluster"])
async def logs(request: pytest.FixtureRequest) -> AsyncIterator[Logs]:
    if request.param == "memory":
        database = await open_database("sqlite:///:memory:")
        await database.migrate()
        memory = MemoryLog(database.dead_letters, backlog_limit=LIMIT)
        await opened(memory)
        yield Logs(memory, memory, database.dead_letters, memory)
        await database.close()
        return
    url = request.getfixturevalue("redis_url" if request.param == "redis" else "redis_cluster_url")
    keys = Keys("test")
    redis = connect(url, [*STREAM_SCRIPTS, *LANE_SCRIPTS, *LEASE_SCRIPTS])
    tokens = await Leases(redis, keys, "node-a", 60_000).acquire(range(8))
    pipe = RedisCalls(redis)
    streams = RedisStreams(pipe, keys, tokens, backlog_limit=LIMIT)
    await opened(streams)
    try:
        yield Logs(streams, RedisLanes(pipe, keys, tokens), RedisDeadLetters(redis, keys, lambda: 8), streams, redis)
    finally:
        await redis.close()


async def lose(logs: Logs, request: pytest.FixtureRequest, command: str) -> None:
    """Have every server forget what the command says."""
    if not isinstance(logs.redis, RedisCluster):
        await logs.redis.one(tuple(command.split()))
        return
    servers: RedisClusterServers = request.getfixturevalue("redis_cluster")
    for server in servers.primaries:
        await asyncio.to_thread(servers.command, server, command)


def record(n: int, *, priority: int = 5, dedup: str | None = None, partition: int = P) -> NewRecord:
    return NewRecord(partition, priority, dedup, b'{"n":%d}' % n, slot=n)


def letter(n: int) -> DeadLetter:
    return DeadLetter(
        id=f"letter-{n}",
        subscription="late",
        partition=P,
        reason="attempts",
        error="no",
        attempts=3,
        accepted_at_us=1,
        dead_at_us=2,
        event_id=f"e{n}",
        event_type="a.b",
        body=b'{"n":%d}' % n,
    )


async def test_what_is_appended_is_read_once_in_order_with_consecutive_positions(logs: Logs) -> None:
    assert await logs.ingest.append([record(n) for n in range(5)]) == [False] * 5
    await logs.ingest.append([record(5)])

    entries = await logs.ingest.read([(P, 5)], 100)

    assert [body for entry in entries for body in entry.bodies] == [b'{"n":%d}' % n for n in range(6)]
    assert entries[0].first.sequence == 1
    assert entries[-1].first == Position(entries[0].first.generation, 6)
    assert abs(entries[0].accepted_at_us - await logs.ingest.now_us()) < 10_000_000
    assert await logs.ingest.read([(P, 5)], 100) == []


async def test_every_event_of_a_partition_has_a_later_time_than_the_one_before(logs: Logs) -> None:
    for start in range(0, 30, 10):
        await logs.ingest.append([record(start + n, priority=9 if n < 3 else 5) for n in range(10)])

    entries = await logs.ingest.read([(P, 9), (P, 5)], 100)

    positions = [Position(e.first.generation, e.first.sequence + k) for e in entries for k in range(len(e.bodies))]
    times = dict(zip(positions, [e.accepted_at_us + k for e in entries for k in range(len(e.bodies))], strict=True))
    in_order = [times[position] for position in sorted(positions)]
    assert len(set(in_order)) == 30
    assert in_order == sorted(in_order)
    assert entries[0].accepted_at(positions[2]) == times[positions[2]]


async def test_each_priority_is_a_stream_of_its_own(logs: Logs) -> None:
    await logs.ingest.append([record(1, priority=1), record(2, priority=9), record(3, priority=1)])

    entries = await logs.ingest.read([(P, 9), (P, 5), (P, 1)], 10)

    assert [(entry.priority, list(entry.bodies)) for entry in entries] == [
        (9, [b'{"n":2}']),
        (1, [b'{"n":1}', b'{"n":3}']),
    ]


async def test_an_id_seen_within_the_window_is_a_duplicate_even_within_one_batch(logs: Logs) -> None:
    first = await logs.ingest.append([record(1, dedup="a"), record(2, dedup="b"), record(3, dedup="a"), record(4)])
    again = await logs.ingest.append([record(5, dedup="b"), record(6)])

    assert first == [False, False, True, False]
    assert again == [True, False]
    bodies = [body for entry in await logs.ingest.read([(P, 5)], 10) for body in entry.bodies]
    assert bodies == [b'{"n":1}', b'{"n":2}', b'{"n":4}', b'{"n":6}']


async def test_what_was_read_but_not_settled_is_pending_until_it_is(logs: Logs) -> None:
    for n in range(3):
        await logs.ingest.append([record(n)])
    entries = await logs.ingest.read([(P, 5)], 10)

    pending = await logs.ingest.read_pending([(P, 5, b"0")], 10)
    assert [e.entry_id for e in pending] == [e.entry_id for e in entries]
    assert [e.first for e in pending] == [e.first for e in entries]
    assert (await logs.ingest.settle(entries[:2])).lost == []
    assert [e.entry_id for e in await logs.ingest.read_pending([(P, 5, b"0")], 10)] == [entries[2].entry_id]
    assert await logs.ingest.read_pending([(P, 5, entries[2].entry_id)], 10) == []
    assert (await logs.ingest.backlog([P]))[P][5] == 1


async def test_a_full_backlog_refuses_and_settling_makes_room(logs: Logs) -> None:
    await logs.ingest.append([record(n) for n in range(LIMIT)])

    (refused,) = await logs.ingest.append([record(99)])
    other = await logs.ingest.append([record(1, partition=P + 1)])

    assert isinstance(refused, Overloaded)
    assert other == [False]
    assert (await logs.ingest.settle(await logs.ingest.read([(P, 5)], 100))).lost == []
    assert await logs.ingest.append([record(100)]) == [False]


async def test_settling_twice_changes_nothing_more(logs: Logs) -> None:
    await logs.ingest.append([record(n) for n in range(LIMIT)])
    entries = await logs.ingest.read([(P, 5)], 100)

    await logs.ingest.settle(entries)
    await logs.ingest.settle(entries)

    await logs.ingest.append([record(n) for n in range(LIMIT)])
    assert isinstance((await logs.ingest.append([record(1)]))[0], Overloaded)


async def test_a_lane_spills_in_order_and_its_owner_finds_everything_again(logs: Logs) -> None:
    lane = LaneKey(P, "late", 5)
    step = LaneStep(lane, spill=[Spill(Position(7, n), 1000 + n, b"body %d" % n) for n in range(1, 4)])

    (answer,) = await logs.lanes.step([step])

    assert isinstance(answer, LaneStepped)
    assert answer.queued == 3
    retry = RetryState(2, 123_456, "refused: ä")
    await logs.lanes.step([LaneStep(lane, retry={answer.queue_ids[0]: retry})])
    state = await logs.lanes.load(P)
    assert state.queued == {lane: 3}
    assert state.high_water == {lane: Position(7, 3)}
    assert state.retries == {lane: {answer.queue_ids[0]: retry}}
    (found,) = await logs.lanes.fetch([(lane, b"0", 2)])
    assert [(s.position, s.accepted_at_us, s.body) for s in found] == [
        (Position(7, 1), 1001, b"body 1"),
        (Position(7, 2), 1002, b"body 2"),
    ]
    (rest,) = await logs.lanes.fetch([(lane, found[-1].queue_id, 10)])
    assert [s.body for s in rest] == [b"body 3"]


async def test_an_emptied_queue_keeps_its_high_water_and_nothing_else(logs: Logs) -> None:
    lane = LaneKey(P, "late", 5)
    (answer,) = await logs.lanes.step([LaneStep(lane, spill=[Spill(Position(7, 9), 1, b"x")])])
    assert isinstance(answer, LaneStepped)

    (emptied,) = await logs.lanes.step([LaneStep(lane, remove=answer.queue_ids)])

    assert emptied == LaneStepped([], 0)
    state = await logs.lanes.load(P)
    assert not state.queued
    assert state.high_water == {lane: Position(7, 9)}


async def test_what_is_delivered_again_never_moves_the_high_water(logs: Logs) -> None:
    lane = LaneKey(P, "late", 5)
    await logs.lanes.step([LaneStep(lane, spill=[Spill(Position(7, 9), 1, b"x")])])

    await logs.lanes.step([LaneStep(lane, spill=[Spill(NOWHERE, 1, b"again")])])

    assert (await logs.lanes.load(P)).high_water == {lane: Position(7, 9)}


async def test_a_dead_letter_and_the_removal_are_one_step(logs: Logs) -> None:
    lane = LaneKey(P, "late", 5)
    (answer,) = await logs.lanes.step([LaneStep(lane, spill=[Spill(Position(7, 1), 1, b'{"n":1}')])])
    assert isinstance(answer, LaneStepped)

    await logs.lanes.step([LaneStep(lane, dead=[letter(1)], remove=answer.queue_ids)])

    page = await logs.letters.list(LetterFilter(subscription="late"))
    assert [(found.event_id, found.reason, found.body) for found in page.letters] == [("e1", "attempts", b'{"n":1}')]
    assert not (await logs.lanes.load(P)).queued


async def test_one_step_may_bury_an_event_for_several_subscriptions(logs: Logs) -> None:
    router = LaneKey(P, "_router", 5)
    both = [replace(letter(1), id=f"{name}-1", subscription=name) for name in ("late", "board")]

    await logs.lanes.step([LaneStep(router, dead=both)])

    for name in ("late", "board"):
        page = await logs.letters.list(LetterFilter(subscription=name))
        assert [(found.subscription, found.event_id) for found in page.letters] == [(name, "e1")]
    assert not (await logs.lanes.load(P)).queued


async def test_discarding_a_lane_leaves_no_trace(logs: Logs) -> None:
    lane, other = LaneKey(P, "late", 5), LaneKey(P, "board", 5)
    for key in (lane, other):
        await logs.lanes.step([LaneStep(key, spill=[Spill(Position(7, 1), 1, b"x"), Spill(Position(7, 2), 1, b"y")])])

    assert await logs.lanes.discard(lane) == []

    state = await logs.lanes.load(P)
    assert state.queued == {other: 2}
    assert state.high_water == {other: Position(7, 2)}


async def test_the_oldest_unsettled_event_of_any_stream_is_known(logs: Logs) -> None:
    assert await logs.ingest.oldest(range(8)) is None
    before_us = await logs.ingest.now_us()
    await logs.ingest.append([record(1, priority=2, partition=P)])
    between_us = await logs.ingest.now_us()
    await logs.ingest.append([record(2, priority=9, partition=P), record(3, partition=P + 1)])
    first = await logs.ingest.read([(P, 2)], 10)
    oldest = await logs.ingest.oldest(range(8))
    assert oldest == first[0].accepted_at_us
    assert before_us <= oldest <= between_us
    await logs.ingest.settle(first)
    later = await logs.ingest.oldest(range(8))
    assert later is not None
    assert later > between_us
    await logs.ingest.settle(await logs.ingest.read([(P, 9), (P + 1, 5)], 10))
    assert await logs.ingest.oldest(range(8)) is None


@SHARED
async def test_an_entry_without_a_time_is_as_old_as_its_id(logs: Logs) -> None:
    before_us = await logs.ingest.now_us()
    await logs.redis.one(("XADD", Keys("test").ingest(P, 5), "*", "f", "16"))
    await logs.ingest.append([record(1)])
    oldest = await logs.ingest.oldest(range(8))
    assert oldest is not None
    assert before_us - 1000 <= oldest <= await logs.ingest.now_us()


@SHARED
async def test_a_stale_token_changes_nothing(logs: Logs) -> None:
    """Fencing: another node has the lease, so whatever changes the partition is refused in the same atomic step."""
    lane, full = LaneKey(P, "late", 5), LaneKey(P, "full", 5)
    await logs.ingest.append([record(1)])
    await logs.lanes.step([LaneStep(full, spill=[Spill(Position(7, 1), 1, b"x")])])
    entries = await logs.ingest.read([(P, 5)], 10)
    await logs.redis.one(("SET", Keys("test").lease(P), "node-b 99999999999999", "PX", 60_000))

    lost = await logs.ingest.settle(entries)
    (spill,) = await logs.lanes.step([LaneStep(lane, spill=[Spill(Position(7, 1), 1, b"x")])])
    (bury,) = await logs.lanes.step([LaneStep(lane, dead=[letter(1)])])
    refused = [
        spill,
        bury,
        await logs.lanes.discard(full),
        await logs.generations.begin(P),
        await logs.generations.feed(P, [(5, Spill(Position(1, 1), 1, b"{}", "e1"))]),
        await logs.generations.open(P, 1),
    ]

    assert lost.lost == [P]
    assert [type(answer) for answer in refused] == [LostPartition] * 6
    assert (await logs.lanes.load(P)).queued == {full: 1}
    assert (await logs.letters.list()).letters == []
    assert len(await logs.ingest.read_pending([(P, 5, b"0")], 10)) == 1


@SHARED
async def test_a_lost_group_is_made_anew_from_the_first_entry(logs: Logs) -> None:
    await logs.ingest.append([record(1)])
    await logs.redis.one(("XGROUP", "DESTROY", Keys("test").ingest(P, 5), "router"))

    assert await logs.ingest.read([(P, 5)], 10) == []

    assert [e.bodies for e in await logs.ingest.read([(P, 5)], 10)] == [[b'{"n":1}']]


@SHARED
async def test_scripts_come_back_after_redis_forgot_them(logs: Logs, request: pytest.FixtureRequest) -> None:
    await logs.ingest.append([record(n, partition=n) for n in range(8)])
    await lose(logs, request, "SCRIPT FLUSH")

    assert await logs.ingest.append([record(n, partition=n) for n in range(8)]) == [False] * 8


@SHARED
async def test_what_others_did_to_a_stream_by_hand_neither_stops_nor_hides_the_rest(logs: Logs) -> None:
    stream = Keys("test").ingest(P, 5)
    await logs.ingest.append([record(1)])
    await logs.ingest.append([record(2)])
    await logs.redis.one(("XADD", stream, "*", "hello", "world"))
    entries = await logs.ingest.read([(P, 5)], 10)
    assert [e.bodies for e in entries] == [[b'{"n":1}'], [b'{"n":2}'], [b"hello world"]]
    await logs.redis.one(("XDEL", stream, entries[0].entry_id))

    pending = await logs.ingest.read_pending([(P, 5, b"0")], 10)

    assert [list(e.bodies) for e in pending] == [[], [b'{"n":2}'], [b"hello world"]]
    assert (await logs.ingest.settle(pending)).lost == []
    assert (await logs.redis.one(("XPENDING", stream, "router")))[0] == 0


def kept(event_id: str, *, priority: int = 5) -> NewRecord:
    return NewRecord(P, priority, event_id, b'{"id":"%s"}' % event_id.encode(), kept=event_id)


async def test_what_had_to_be_stored_is_released_when_nothing_holds_it_any_more(logs: Logs) -> None:
    one, two = LaneKey(P, "one", 5), LaneKey(P, "two", 5)
    await logs.ingest.append([kept("e 1"), kept("e2"), record(3)])
    entries = await logs.ingest.read([(P, 5)], 10)
    (entry,) = [each for each in entries if each.kept]
    spills = [
        Spill(Position(entry.first.generation, entry.first.sequence + n), entry.accepted_at_us + n, body, entry.kept[n])
        for n, body in enumerate(entry.bodies)
    ]

    in_one, in_two = await logs.lanes.step([LaneStep(one, spill=spills), LaneStep(two, spill=spills[:1])])
    assert isinstance(in_one, LaneStepped)
    assert isinstance(in_two, LaneStepped)
    settled = await logs.ingest.settle(entries)
    (first,) = await logs.lanes.step([LaneStep(one, remove=in_one.queue_ids)])
    again = await logs.ingest.settle(entries)
    last = await logs.lanes.discard(two)

    assert list(entry.kept) == ["e 1", "e2"]
    assert (settled.released, again.released) == ([], [])
    assert isinstance(first, LaneStepped)
    assert first.released == [(entry.accepted_at_us + 1, "e2")]
    assert last == [(entry.accepted_at_us, "e 1")]


async def test_spilled_events_keep_what_they_are(logs: Logs) -> None:
    lane = LaneKey(P, "late", 5)
    await logs.lanes.step(
        [LaneStep(lane, spill=[Spill(Position(7, 1), 5, b"x", "an id"), Spill(Position(7, 2), 6, b"y")])]
    )

    (found,) = await logs.lanes.fetch([(lane, b"0", 10)])

    assert [(each.position, each.accepted_at_us, each.body, each.kept) for each in found] == [
        (Position(7, 1), 5, b"x", "an id"),
        (Position(7, 2), 6, b"y", ""),
    ]


async def test_what_is_fed_again_is_there_once_and_comes_as_it_was(logs: Logs) -> None:
    lost = [(5, Spill(Position(1, n), 1_000 + n, b'{"id":"e%d"}' % n, f"e{n}")) for n in range(3)]

    assert await logs.generations.feed(P, lost[:2]) == 2
    assert await logs.generations.feed(P, lost) == 1

    entries = await logs.ingest.read([(P, 5)], 10)
    assert [(entry.accepted_at_us, list(entry.bodies), list(entry.kept)) for entry in entries] == [
        (event.accepted_at_us, [event.body], [event.kept]) for _, event in lost
    ]
    assert [entry.first for entry in entries] == sorted(entry.first for entry in entries)
    assert len((await logs.ingest.settle(entries)).released) == 3


@SHARED
async def test_a_log_that_lost_its_data_takes_no_appends_before_it_was_fed(
    logs: Logs, request: pytest.FixtureRequest
) -> None:
    await logs.ingest.append([kept("e1")])
    before = await logs.generations.begin(P)
    token = await logs.redis.one(("GET", Keys("test").lease(P)))
    await lose(logs, request, "FLUSHALL")

    closed = await logs.ingest.append([record(1)])
    await logs.redis.one(("SET", Keys("test").lease(P), token, "PX", 60_000))
    begun = await logs.generations.begin(P)
    assert isinstance(before, Begun)
    assert isinstance(begun, Begun)
    still_closed = await logs.ingest.append([record(1)])
    await logs.generations.open(P, begun.generation)
    taken = await logs.ingest.append([record(1)])

    assert not before.unfed
    assert begun.unfed
    assert begun.generation > before.generation
    assert (closed, still_closed, taken) == ([Closed(P)], [Closed(P)], [False])


@SHARED
async def test_another_server_begins_a_generation_and_goes_on_taking_appends(logs: Logs) -> None:
    await logs.ingest.append([record(1)])
    before = await logs.generations.begin(P)
    await logs.redis.one(("HSET", Keys("test").position(P), "run", "0" * 40))

    begun = await logs.generations.begin(P)
    taken = await logs.ingest.append([record(2)])
    again = await logs.generations.begin(P)

    assert isinstance(before, Begun)
    assert isinstance(begun, Begun)
    assert begun.unfed
    assert begun.generation > before.generation
    assert taken == [False]
    assert again == begun


async def test_events_of_one_key_are_numbered_in_order_whatever_their_priorities(logs: Logs) -> None:
    levels = [5, 9, 0, 9, 5]
    records = [structs.replace(record(n, priority=level), slot=7) for n, level in enumerate(levels)]
    others = [structs.replace(record(10 + n, priority=level), slot=100 + n) for n, level in enumerate(levels)]
    await logs.ingest.append([each for pair in zip(records, others, strict=True) for each in pair])

    entries = await logs.ingest.read([(P, level) for level in range(10)], 10)
    found = {body: entry.first.sequence + at for entry in entries for at, body in enumerate(entry.bodies)}
    mine = [found[each.body] for each in records]
    assert mine == sorted(mine)
    assert sorted(found.values()) == list(range(1, 11))


async def scheduled(logs: Logs, now_us: int, *due: int) -> list[bytes]:
    """Put events into the schedule that are due so many seconds from now; returns their bodies."""
    bodies = [b'{"id":"x","n":%d}' % n for n in range(len(due))]
    spills = [
        Spill(Position(1, n + 1), 5000 + n, body, "", now_us + seconds * 1_000_000)
        for n, (body, seconds) in enumerate(zip(bodies, due, strict=True))
    ]
    (answer,) = await logs.lanes.step([LaneStep(LaneKey(P, SCHEDULE, 7), spill=spills)])
    assert isinstance(answer, LaneStepped)
    assert answer.queued == len(due)
    return bodies


async def test_what_is_due_goes_back_to_its_stream_in_the_order_of_time(logs: Logs) -> None:
    now_us = await logs.ingest.now_us()
    bodies = await scheduled(logs, now_us, -1, 3600, -3, -2)

    answer = await logs.lanes.due(P, 2)
    assert isinstance(answer, Due)
    assert answer.priorities == [7, 7]
    assert answer.next_us is not None
    assert abs(answer.next_us - (now_us - 1_000_000)) <= 1000, "to the millisecond"
    answer = await logs.lanes.due(P, 10)
    assert isinstance(answer, Due)
    assert answer.priorities == [7]
    assert answer.next_us is not None
    assert abs(answer.next_us - now_us - 3_600_000_000) < 2000

    entries = await logs.ingest.read([(P, 7)], 10)
    assert [list(entry.bodies) for entry in entries] == [[bodies[2]], [bodies[3]], [bodies[0]]]
    assert [entry.accepted_at_us for entry in entries] == [5002, 5003, 5000], "accepted when they were"
    assert [entry.first.sequence for entry in entries] == [1, 2, 3], "in their place among the others"
    assert (await logs.ingest.unsettled([P]))[P] == 3
    assert (await logs.lanes.load(P)).queued == {LaneKey(P, SCHEDULE, 7): 1}
    assert await logs.lanes.due(P, 10) == Due([], answer.next_us)


async def test_a_schedule_that_is_empty_leaves_nothing_behind(logs: Logs) -> None:
    now_us = await logs.ingest.now_us()
    await scheduled(logs, now_us, -1)
    assert await logs.lanes.due(P, 10) == Due([7], None)
    assert await logs.lanes.due(P, 10) == Due([], None)
    assert (await logs.lanes.load(P)).queued == {}


async def test_what_had_to_be_stored_is_held_by_the_schedule_too(logs: Logs) -> None:
    now_us = await logs.ingest.now_us()
    await logs.ingest.append([kept("e1", priority=7)])
    (entry,) = await logs.ingest.read([(P, 7)], 1)
    at = entry.accepted_at_us
    spill = Spill(entry.first, at, entry.bodies[0], "e1", now_us - 1_000_000)
    await logs.lanes.step([LaneStep(LaneKey(P, SCHEDULE, 7), spill=[spill])])
    assert (await logs.ingest.settle([entry])).released == [], "the schedule has it"
    assert await logs.lanes.due(P, 10) == Due([7], None)

    (again,) = await logs.ingest.read([(P, 7)], 1)
    assert list(again.kept) == ["e1"]
    assert again.accepted_at_us == at
    assert (await logs.ingest.settle([again])).released == [(at, "e1")]


class Followed:
    """A follower that notes what it hears."""

    def __init__(self) -> None:
        self.rings: list[tuple[int, int]] = []
        self.entries: list[tuple[Entry, bytes]] = []

    def rang(self, partition: int, priority: int) -> None:
        self.rings.append((partition, priority))

    def brought(self, entry: Entry, before: bytes) -> None:
        self.entries.append((entry, before))

    def all_brought(self) -> None:
        return


def told(entry: Entry) -> tuple[object, ...]:
    place = (entry.priority, entry.entry_id, entry.partition, entry.first)
    return (*place, entry.accepted_at_us, list(entry.bodies), list(entry.kept))


async def test_who_appends_is_told_of_each_stream_that_has_something_new(logs: Logs) -> None:
    logs.ingest.follower = followed = Followed()
    answers = await logs.ingest.append([record(1), record(2, priority=9), record(1, dedup="a"), record(1, dedup="a")])
    assert answers == [False, False, False, True]
    told = {*followed.rings, *((entry.partition, entry.priority) for entry, _ in followed.entries)}
    assert told == {(P, 5), (P, 9)}
    assert len(followed.rings) + len(followed.entries) == 2

    await logs.ingest.append([record(1, dedup="a")])
    assert len(followed.rings) + len(followed.entries) == 2, "of a duplicate there is nothing to tell"


@SHARED
async def test_an_owner_is_brought_what_it_appends_as_it_would_read_it(logs: Logs) -> None:
    logs.ingest.follower = followed = Followed()
    await logs.ingest.append([record(1), record(2), record(3, priority=9), kept("e4", priority=1)])
    await logs.ingest.append([record(5)])
    read = await logs.ingest.read([(P, 9), (P, 5), (P, 1)], 10)
    assert followed.rings == []
    assert sorted(told(entry) for entry, _ in followed.entries) == sorted(map(told, read))
    (*others, (last, before)) = followed.entries
    assert list(last.bodies) == [b'{"n":5}']
    assert before == next(entry.entry_id for entry in read if entry.priority == 5)
    assert {before for _, before in others} == {b"0"}


@SHARED
async def test_what_was_brought_settles_without_having_been_read(logs: Logs) -> None:
    logs.ingest.follower = followed = Followed()
    await logs.ingest.append([record(1)])
    assert (await logs.ingest.settle([followed.entries[0][0]])).lost == []
    assert (await logs.ingest.unsettled([P]))[P] == 0
    assert await logs.ingest.read([(P, 5)], 10) == []
    await logs.ingest.append([record(2)])
    assert followed.entries[1][1] == b"0", "the stream was empty"


@SHARED
@pytest.mark.parametrize("between", ["by hand", "fed", "due"])
async def test_nothing_is_brought_past_what_else_came_into_its_stream(logs: Logs, between: str) -> None:
    await logs.ingest.append([record(1)])
    if between == "by hand":
        await logs.redis.one(("XADD", Keys("test").ingest(P, 5), "*", "hello", "world"))
    elif between == "fed":
        await logs.generations.feed(P, [(5, Spill(Position(1, 1), 1, b'{"id":"e1"}', "e1"))])
    else:
        now_us = await logs.ingest.now_us()
        lane = LaneKey(P, SCHEDULE, 5)
        spill = Spill(Position(7, 1), now_us, b'{"n":7}', due_us=now_us - 1_000_000)
        await logs.lanes.step([LaneStep(lane, spill=[spill])])
        assert isinstance(due := await logs.lanes.due(P, 10), Due)
        assert due.priorities == [5]
    logs.ingest.follower = followed = Followed()
    await logs.ingest.append([record(2)])
    assert (followed.rings, followed.entries) == ([(P, 5)], [])
    await logs.ingest.append([record(3)])
    assert len(followed.entries) == 1, "the one before it is known again"


@SHARED
async def test_what_is_large_is_not_brought(logs: Logs) -> None:
    logs.ingest.follower = followed = Followed()
    await logs.ingest.append([structs.replace(record(1), body=b'{"x":"%s"}' % (b"x" * 20_000))])
    assert (followed.rings, followed.entries) == ([(P, 5)], [])


@SHARED
async def test_another_owner_is_brought_it_by_the_doorbell(logs: Logs) -> None:
    keys = Keys("test")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with logs.redis.listening([keys.doorbell("node-a")], lambda _, message: heard.put_nowait(message)):
        elsewhere = RedisStreams(RedisCalls(logs.redis), keys, {}, backlog_limit=LIMIT)
        elsewhere.follower = followed = Followed()
        assert await elsewhere.append([record(1), record(2), kept("e3", priority=1)]) == [False] * 3
        async with asyncio.timeout(5):
            found = [read_brought(await heard.get()) for _ in range(2)]
    assert (followed.rings, followed.entries) == ([], []), "the owner knows already"
    token = (await logs.redis.one(("GET", keys.lease(P)))).decode()
    assert [epoch for epoch, _, _ in found] == [int(token.split()[-1])] * 2
    read = await logs.ingest.read([(P, 5), (P, 1)], 10)
    assert sorted(told(entry) for _, entry, _ in found) == sorted(map(told, read))
    assert {before for _, _, before in found} == {b"0"}


@SHARED
async def test_without_an_owner_who_appends_has_to_ring(logs: Logs) -> None:
    await logs.redis.one(("DEL", Keys("test").lease(P)))
    logs.ingest.follower = followed = Followed()
    assert await logs.ingest.append([record(1)]) == [False]
    assert (followed.rings, followed.entries) == ([(P, 5)], [])


@pytest.mark.parametrize("message", [b"", b"x", b"17 5 1 1-0 0 3\n1 2 3", b"a b c d e f\ng\nh", b"17 5 1\n1 2 3\n"])
def test_what_is_no_doorbell_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        read_brought(message)
