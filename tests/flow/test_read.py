"""Reading what was brought: taken in its turn and once, or read like all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from router_node.delivery.sequencer import Sequencer
from router_node.flow.read import Bell, Reader
from router_node.log.memory import MemoryLog
from router_node.log.port import Entry, NewRecord, Position
from stores.ports import DeadLetterSink
from tests.support.signals import wait_for

P, LEVEL = 1, 5


class Room:
    """Stands for the settle stage: room or none, and nothing held."""

    def __init__(self) -> None:
        self.has_room = True
        self.some = asyncio.Event()
        self.some.set()

    async def room(self) -> None:
        await self.some.wait()

    def held(self, partition: int) -> int:
        return 0


class Site:
    """A reader of partition ``P``, and what it routed."""

    def __init__(self) -> None:
        self.log = MemoryLog(cast(DeadLetterSink, None))
        self.room = Room()
        self.bell = Bell()
        self.routed: list[bytes] = []
        self.reader = Reader(
            self.log, self.bell, self.room, Sequencer(lambda _: None), lambda entry: self.routed.extend(entry.bodies)
        )

    async def append(self, *bodies: bytes) -> list[Entry]:
        """Append each as an entry of its own, and return the entries as they would be brought."""
        entries = []
        for body in bodies:
            await self.log.append([NewRecord(P, LEVEL, None, body)])
            kept = self.log._fresh[P, LEVEL]
            found = kept[next(reversed(kept))]
            entries.append(Entry(P, LEVEL, found.entry_id, found.first, found.accepted_at_us, found.bodies))
        return entries

    async def read_all(self) -> None:
        """Wait until the reader has nothing that rings."""
        await wait_for(lambda: not self.bell._rung, 2, "all is read")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    made.reader.own(P)
    running = asyncio.create_task(made.reader.run())
    await made.read_all()
    yield made
    running.cancel()
    await asyncio.wait([running])


async def test_what_is_brought_is_taken_at_once_and_not_read_again(site: Site) -> None:
    one, two = await site.append(b"1", b"2")
    site.reader.take(one, b"0")
    site.reader.take(two, one.entry_id)
    assert site.routed == [b"1", b"2"]
    await site.append(b"3")
    site.bell.ring(P, LEVEL)
    await site.read_all()
    assert site.routed == [b"1", b"2", b"3"], "a read finds them all, as none is settled"
    assert site.reader.entries_brought == 2


async def test_what_is_brought_twice_or_late_is_taken_once(site: Site) -> None:
    one, two = await site.append(b"1", b"2")
    site.bell.ring(P, LEVEL)
    await site.read_all()
    for entry, before in ((one, b"0"), (two, one.entry_id), (two, one.entry_id)):
        site.reader.take(entry, before)
    await site.read_all()
    assert site.routed == [b"1", b"2"]


async def test_what_has_something_unread_before_it_is_read_after_that(site: Site) -> None:
    one, two = await site.append(b"1", b"2")
    site.reader.take(two, one.entry_id)
    assert site.routed == []
    await site.read_all()
    assert site.routed == [b"1", b"2"]
    assert site.reader.entries_brought == 0


async def test_without_room_it_is_left_in_the_log(site: Site) -> None:
    (one,) = await site.append(b"1")
    site.room.has_room = False
    site.room.some.clear()
    site.reader.take(one, b"0")
    assert site.routed == []
    site.room.has_room = True
    site.room.some.set()
    await site.read_all()
    assert site.routed == [b"1"]


async def test_an_owner_that_is_new_reads_what_was_pending_first() -> None:
    site = Site()
    one, two = await site.append(b"1", b"2")
    await site.log.read([(P, LEVEL)], 1)  # an earlier owner had read the first
    site.reader.take(one, b"0")
    assert site.routed == [], "a partition that is not owned"
    site.reader.own(P)
    site.reader.take(two, b"0")
    assert site.routed == [], "its stream is being recovered"
    running = asyncio.create_task(site.reader.run())
    await site.read_all()
    running.cancel()
    assert site.routed == [b"1", b"2"]


async def test_a_partition_taken_again_is_read_anew(site: Site) -> None:
    (one,) = await site.append(b"1")
    site.reader.take(one, b"0")
    site.reader.lose(P)
    site.reader.own(P)
    await site.read_all()
    assert site.routed == [b"1", b"1"], "what was not settled is delivered again"


def test_a_low_priority_has_its_turn_behind_many_busy_high_ones() -> None:
    bell = Bell()
    bell.ring(7, 0)
    turns = 0
    while (7, 0) not in (taken := bell.take(16)):
        assert turns < 10
        assert len(taken) <= 16
        turns += 1
        for partition in range(100):
            bell.ring(partition, 9)

    for partition in range(20):
        bell.ring(partition, partition % 10)
    assert [priority for _, priority in bell.take(16)][:14] == [9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3]


async def test_ids_are_compared_as_numbers(site: Site) -> None:
    def entry(entry_id: bytes, body: bytes) -> Entry:
        return Entry(P, LEVEL, entry_id, Position(1, 1), 0, [body])

    site.reader.take(entry(b"99-9", b"1"), b"0")
    site.reader.take(entry(b"99-10", b"2"), b"99-9")
    site.reader.take(entry(b"100-0", b"3"), b"99-10")
    site.reader.take(entry(b"99-2", b"late"), b"0")
    assert site.routed == [b"1", b"2", b"3"]
