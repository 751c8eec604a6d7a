"""The persister against a real SQLite store that goes away, comes back and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from router_client.event import Event
from router_node.delivery.item import Head
from router_node.delivery.undeliverable import Undeliverable
from router_node.flow.persist import GATHER_EVENTS, LANE, Persister
from router_node.flow.settle import Settler
from router_node.log.memory import MemoryLog
from router_node.log.port import Entry, LaneKey, NewRecord, PartitionState, Position
from stores.errors import StoreRejected, StoreUnavailable
from stores.open import open_database
from stores.ports import EventStore, StoredEvent
from stores.sqlite.database import SqliteDatabase
from tests.support.clock import FakeClock
from tests.support.signals import wait_for

Offer = Callable[[Entry, Position, Head, bytes], None]


@dataclass
class Valve:
    """A real event store behind a valve: shut, it is away; ``poison`` are ids it refuses."""

    inner: EventStore
    shut: bool = False
    poison: set[str] = field(default_factory=set)

    async def save(self, events: Sequence[StoredEvent]) -> int:
        await self.ping()
        if any(event.id in self.poison for event in events):
            raise StoreRejected("poison")
        return await self.inner.save(events)

    async def ping(self) -> None:
        if self.shut:
            raise StoreUnavailable("the valve is shut")

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


@dataclass
class Bench:
    log: MemoryLog
    settler: Settler
    store: Valve
    persister: Persister
    database: SqliteDatabase

    async def publish(self, *ids: str, kept: bool = False, offer: Offer | None = None) -> None:
        await self.log.append(
            [
                NewRecord(0, 5, None, Event(type="a.b", id=i, payload={"n": 1}).encode(), kept=i if kept else "")
                for i in ids
            ]
        )
        for entry in await self.log.read([(0, 5)], 100):
            self.feed(entry, offer or self.persister.offer)

    def feed(self, entry: Entry, offer: Offer) -> None:
        self.settler.hold(entry)
        entry.outstanding += 1
        for offset, body in enumerate(entry.bodies):
            position = Position(entry.first.generation, entry.first.sequence + offset)
            offer(entry, position, Head.of(body), body)
        self.settler.release(entry)

    async def pending(self) -> int:
        return sum((await self.log.backlog([0]))[0].values())

    async def stored(self, count: int) -> None:
        async def there() -> bool:
            return await self.database.events.count() == count

        await wait_for(there, 10, f"{count} events are stored")

    async def settled(self) -> None:
        async def empty() -> bool:
            return await self.pending() == 0

        await wait_for(empty, 10, "the ingest stream is empty")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    database = await open_database("sqlite:///:memory:")
    assert isinstance(database, SqliteDatabase)
    await database.migrate()
    log = MemoryLog(database.dead_letters)
    settler = Settler(log, log, lambda partition: None)
    store = Valve(database.events)
    undeliverable = Undeliverable(LANE, settler, FakeClock())
    persister = Persister(
        store,  # type: ignore[arg-type]
        database.outbox,
        log,
        settler.release,
        undeliverable,
        lambda partition: None,
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(settler.run()), tasks.create_task(persister.run())]
        yield Bench(log, settler, store, persister, database)
        for task in running:
            task.cancel()
    await database.close()


async def test_what_is_offered_is_stored_and_lets_its_entry_go(bench: Bench) -> None:
    await bench.publish("e1", "e2")

    await bench.stored(2)
    await bench.settled()
    assert bench.settler.unsettled_events == 0


async def test_while_the_store_is_away_events_spill_and_afterwards_they_are_stored(bench: Bench) -> None:
    bench.store.shut = True
    await bench.publish("e1", "e2", "e3")
    await bench.settled()
    assert (await bench.log.load(0)).queued == {LaneKey(0, LANE, 5): 3}
    assert bench.persister.away

    bench.store.shut = False

    await bench.stored(3)
    await wait_for(lambda: not bench.persister.behind, 5, "nothing is left behind")
    assert not bench.persister.away
    assert (await bench.log.load(0)).queued == {}


async def test_an_event_the_store_refuses_is_a_dead_letter_and_the_others_are_stored(bench: Bench) -> None:
    bench.store.poison = {"e3"}
    await bench.publish(*[f"e{n}" for n in range(7)])

    await bench.stored(6)
    await bench.settled()
    (letter,) = (await bench.database.dead_letters.list()).letters
    assert (letter.event_id, letter.reason, letter.subscription) == ("e3", "store_refused", LANE)


async def test_an_event_refused_while_catching_up_is_a_dead_letter_too(bench: Bench) -> None:
    bench.store.shut = True
    bench.store.poison = {"e1"}
    await bench.publish("e0", "e1", "e2")
    await bench.settled()

    bench.store.shut = False

    await bench.stored(2)
    await wait_for(lambda: not bench.persister.behind, 5, "nothing is left behind")
    assert [letter.event_id for letter in (await bench.database.dead_letters.list()).letters] == ["e1"]


async def test_a_new_owner_stores_what_was_spilled_and_skips_it_when_read_again(bench: Bench) -> None:
    lane = LaneKey(0, LANE, 5)
    await bench.log.append([NewRecord(0, 5, None, Event(type="a.b", id="e1").encode())])
    (entry,) = await bench.log.read([(0, 5)], 10)
    state = PartitionState(high_water={lane: entry.first})

    bench.persister.resume(0, state)
    bench.feed(entry, bench.persister.offer)

    await bench.settled()
    assert await bench.database.events.count() == 0


async def test_few_events_wait_for_more_until_a_publisher_waits_for_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_node.flow.persist.GATHER_S", 60)
    waiting = [f"e-{number}" for number in range(3)]
    for event_id in waiting:
        await bench.publish(event_id)
        await asyncio.sleep(0)
    assert await bench.database.events.count() == 0

    await bench.publish("wanted", kept=True)

    await bench.stored(4)
    await bench.settled()


async def test_as_many_events_as_are_worth_a_statement_are_written_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_node.flow.persist.GATHER_S", 60)
    await bench.publish(*(f"e-{number}" for number in range(GATHER_EVENTS)))

    await bench.stored(GATHER_EVENTS)
    await bench.publish("one more")
    await asyncio.sleep(0)
    assert await bench.database.events.count() == GATHER_EVENTS


async def test_of_a_cluster_that_stores_nothing_only_what_was_promised_is_stored(bench: Bench) -> None:
    promised = bench.persister.offer_promised
    bench.persister.promised_until_us = await bench.log.now_us() + 3_600_000_000
    await bench.publish("accepted before", offer=promised)
    bench.persister.promised_until_us = 0
    await bench.publish("accepted since", offer=promised)
    await bench.publish("waited for", kept=True, offer=promised)

    await bench.settled()
    await bench.stored(2)
    found = await bench.database.outbox.stored(["accepted before", "accepted since", "waited for"])
    assert found == {"accepted before", "waited for"}
