"""One replay: its pages, its pace, and what it repeats when somebody is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from partitioning.slots import slot_of
from router_client.errors import NotFound, Unavailable
from router_node import replay_run
from router_node.clock import SystemClock
from router_node.replay_run import PAGE_EVENTS, PART_BYTES, Again, Means, Pace, ReplayRun
from stores.errors import StoreUnavailable
from stores.open import open_database
from stores.ports import Database, Replay, StoredEvent
from tests.support.clock import FakeClock
from tests.support.virtual_time import VirtualTimeLoop

FIRST_US = 1_700_000_000_000_000
EVENTS = 450
PARTITIONS = 4


class Taking:
    """Takes what is handed over; what it is told to do instead, it does once for each time it is told."""

    def __init__(self) -> None:
        self.taken: list[Again] = []
        self.handed: list[int] = []
        self.waiting: list[int] = []
        self.stored_us: list[int] = []
        self.instead: list[Callable[[Sequence[Again]], list[Again]]] = []

    async def hand_over(self, subscription: str, events: Sequence[Again]) -> list[Again]:
        self.handed.append(len(events))
        left = self.instead.pop(0)(events) if self.instead else []
        self.taken += [event for event in events if event not in left]
        return left

    async def backlog(self, subscription: str) -> int:
        return self.waiting.pop(0) if self.waiting else 0

    async def stored_until(self) -> int:
        return self.stored_us.pop(0) if self.stored_us else FIRST_US + EVENTS * 10

    @property
    def numbers(self) -> list[int]:
        return [orjson.loads(event.body)["payload"]["n"] for event in self.taken]


class Ground:
    """A store with events, and a replay of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.hands = Taking()
        self.mine = True
        self.replay = Replay(
            id="r1",
            subscription="one",
            query={"to": "2030-01-01T00:00:00Z"},
            rate=10_000.0,
            created_at_us=FIRST_US + EVENTS * 2,
            updated_at_us=FIRST_US,
        )

    async def run(self, goes_to: Callable[[str, Mapping[str, Any]], bool] = lambda *_: True) -> Replay:
        """Run it on from where it stands in the store; returns how it stands there then."""
        means = Means(
            self.database.replays,
            self.database.events,
            goes_to,
            self.hands,
            lambda slot: (slot % PARTITIONS, PARTITIONS),
            SystemClock(),
            lambda: self.mine,
        )
        stands = await self.database.replays.get("r1")
        assert stands is not None
        await ReplayRun(stands, means, lambda _: None).run()
        stands = await self.database.replays.get("r1")
        assert stands is not None
        return stands

    async def keep(self, sizes: Sequence[int]) -> None:
        await self.database.events.save([stored(n, size) for n, size in enumerate(sizes)])
        await self.database.replays.add(self.replay)


def stored(n: int, size: int = 0) -> StoredEvent:
    body = {
        "id": f"e{n}",
        "type": "a.b",
        "source": "s",
        "correlation_id": f"k{n % 10}",
        "priority": 5,
        "payload": {"n": n, "fill": "x" * size},
    }
    return StoredEvent(FIRST_US + n, f"e{n}", "a.b", "s", f"k{n % 10}", 5, orjson.dumps(body))


@pytest.fixture
async def ground(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    monkeypatch.setattr(replay_run, "PAUSE_S", 0.001)
    monkeypatch.setattr(replay_run, "LONGEST_PAUSE_S", 0.001)
    database = await open_database("sqlite:///:memory:")
    await database.migrate()
    ground = Ground(database)
    # It may look as far as the clock of the store says that all is stored; the end of the query is beyond that.
    ground.replay = replace(ground.replay, query={"to": "2023-11-14T22:13:20.004500Z"})
    yield ground
    await database.close()


def away(_: Sequence[Again]) -> list[Again]:
    raise Unavailable("no answer")


async def test_all_pages_are_handed_over_in_order_and_counted(ground: Ground) -> None:
    await ground.keep([0] * EVENTS)
    done = await ground.run(lambda name, event: event["payload"]["n"] % 3 > 0)
    assert ground.hands.numbers == [n for n in range(EVENTS) if n % 3]
    assert (done.state, done.delivered, done.skipped) == ("done", EVENTS * 2 // 3, EVENTS // 3)
    assert {event.accepted_at_us for event in ground.hands.taken} == {ground.replay.created_at_us}
    assert {event.partition for event in ground.hands.taken} <= set(range(PARTITIONS))


async def test_what_one_owner_could_not_take_is_tried_again_and_nothing_else_is_repeated(ground: Ground) -> None:
    await ground.keep([0] * EVENTS)
    lost = slot_of("k0") % PARTITIONS
    ground.hands.instead += [lambda events: [event for event in events if event.partition == lost]] * 5
    ground.hands.instead.append(away)
    done = await ground.run()
    assert sorted(ground.hands.numbers) == list(range(EVENTS))
    for partition in range(PARTITIONS):
        numbers = [
            orjson.loads(each.body)["payload"]["n"] for each in ground.hands.taken if each.partition == partition
        ]
        assert numbers == sorted(numbers)
    assert done.delivered == EVENTS


async def test_when_it_is_another_nodes_turn_that_goes_on_with_the_next_event(ground: Ground) -> None:
    await ground.keep([20_000] * 30)

    def leave(events: Sequence[Again]) -> list[Again]:
        ground.mine = False
        return []

    ground.hands.instead += [leave]
    left = await ground.run()
    assert left.state == "running"
    assert 0 < left.delivered == len(ground.hands.taken) < 30
    ground.mine = True
    done = await ground.run()
    assert (done.state, done.delivered) == ("done", 30)
    assert ground.hands.numbers == list(range(30))


async def test_a_store_that_is_away_for_a_moment_repeats_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ground.keep([0] * EVENTS)
    change, failures = ground.database.replays.change, [StoreUnavailable("away")] * 2

    async def changing(replay: Replay) -> bool:
        if failures:
            raise failures.pop()
        return await change(replay)

    monkeypatch.setattr(ground.database.replays, "change", changing)
    assert (await ground.run()).state == "done"
    assert ground.hands.numbers == list(range(EVENTS))


async def test_it_reads_no_further_than_all_is_stored(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    late = stored(99)
    await ground.keep([0] * EVENTS)
    await ground.database.events.delete([late.id])
    ground.hands.stored_us += [FIRST_US, late.accepted_at_us, late.accepted_at_us]
    stored_until, seen = ground.hands.stored_until, list[int]()

    async def looking() -> int:
        seen.append(len(ground.hands.taken))
        if not ground.hands.stored_us:
            await ground.database.events.save([late])
        return await stored_until()

    monkeypatch.setattr(ground.hands, "stored_until", looking)
    assert (await ground.run()).delivered == EVENTS
    assert seen == [0, 0, 99, 99], "it waited before the event that was not stored yet"
    assert ground.hands.numbers == list(range(EVENTS))


async def test_much_that_waits_holds_it_back(ground: Ground) -> None:
    await ground.keep([0] * 10)
    ground.hands.waiting += [replay_run.BACKLOG_AT_MOST + 1] * 3
    assert (await ground.run()).delivered == 10
    assert ground.hands.waiting == [], "it looked until there was room"


async def test_large_events_are_handed_over_few_at_once(ground: Ground) -> None:
    await ground.keep([PART_BYTES // 3] * 10 + [PART_BYTES * 2] + [10] * 10)
    await ground.run()
    assert ground.hands.numbers == list(range(21))
    assert max(ground.hands.handed[:5]) == 2
    assert 1 in ground.hands.handed, "one larger than the bound goes alone"


async def test_a_subscription_that_is_gone_ends_it(ground: Ground) -> None:
    await ground.keep([0] * 10)

    def nobody(name: str, event: Mapping[str, Any]) -> bool:
        raise NotFound(f"no subscription named {name}", field="name")

    failed = await ground.run(nobody)
    assert (failed.state, failed.delivered) == ("failed", 0)
    assert "no subscription named one" in failed.error


async def test_what_is_cancelled_stops_at_its_page(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    await ground.keep([0] * EVENTS)
    hand_over = ground.hands.hand_over

    async def cancelling(subscription: str, events: Sequence[Again]) -> list[Again]:
        await ground.database.replays.change(replace(ground.replay, state="cancelled"))
        return await hand_over(subscription, events)

    monkeypatch.setattr(ground.hands, "hand_over", cancelling)
    assert (await ground.run()).state == "cancelled"
    assert len(ground.hands.taken) == PAGE_EVENTS


def counted(rate: float, seconds: float, stall_s: float) -> tuple[int, int]:
    """Return how many events a pace lets pass in so many seconds, then in as many after a stall."""
    clock = FakeClock()
    loop = VirtualTimeLoop(clock)
    pace = Pace(rate, clock)

    async def passing() -> int:
        until, events = clock.monotonic() + seconds, 0
        while True:
            await pace.turn(pace.at_once)
            if clock.monotonic() >= until:
                return events
            events += pace.at_once

    async def stalled() -> tuple[int, int]:
        before = await passing()
        await asyncio.sleep(stall_s)
        return before, await passing()

    try:
        return loop.run_until_complete(stalled())
    finally:
        loop.close()


@pytest.mark.parametrize("rate", [0.5, 7.0, 100.0, 500.0, 10_000.0])
def test_the_rate_is_kept_and_a_stall_is_not_made_up_for(rate: float) -> None:
    seconds = max(10.0, 10 / rate)
    before, after = counted(rate, seconds, stall_s=600.0)
    most = rate * (seconds + 2 * Pace.CATCH_UP_S) + 1
    assert rate * seconds * 0.9 <= before <= most
    assert after <= most


@pytest.mark.parametrize(("rate", "at_once"), [(0.1, 1), (10.0, 1), (100.0, 10), (10_000.0, PAGE_EVENTS)])
def test_slow_replays_come_in_small_parts(rate: float, at_once: int) -> None:
    assert Pace(rate, FakeClock()).at_once == at_once
