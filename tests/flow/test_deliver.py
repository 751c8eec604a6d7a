"""One dispatch on the real settler and the memory log, with a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from router_client.errors import EventRouterError
from router_client.event import Event
from router_client.spec import RetryPolicy, SubscriptionSpec
from router_node.cluster.ownership import SoleOwner
from router_node.contract import Delivery, Nack, Remark, Settlement
from router_node.delivery import lane, window
from router_node.delivery.item import Head
from router_node.flow.deliver import Dispatch
from router_node.flow.settle import Settler
from router_node.log.memory import MemoryLog
from router_node.log.port import LaneKey, NewRecord, Position, Spilled
from stores.ports import Attempt, DeadLetter
from tests.support.clock import FakeClock

SPEC = SubscriptionSpec(
    name="late", topics=("a.>",), retry=RetryPolicy(max_attempts=3, base_s=10, jitter=0), max_in_flight=1000
)


class Letters:
    def __init__(self) -> None:
        self.all: list[DeadLetter] = []

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        self.all.extend(letters)


class Taker:
    """A consumer that keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.error: EventRouterError | None = None

    def push(self, deliveries: list[Delivery]) -> None:
        self.got.extend(deliveries)

    def ended(self, error: EventRouterError) -> None:
        self.error = error

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.got]


class Notes:
    """A journal that is a list."""

    def __init__(self, notes: list[Attempt]) -> None:
        self.note = notes.append

    def wants(self, outcome: str, attempt: int) -> bool:
        return True


class Bench:
    """A dispatch and the stages around it."""

    def __init__(self, spec: SubscriptionSpec = SPEC) -> None:
        self.clock = FakeClock()
        self.letters = Letters()
        self.log = MemoryLog(self.letters)
        self.settler = Settler(self.log, self.log, lambda partition: None)
        self.ended = False
        self.dispatch = Dispatch(spec, self.settler, self.clock, SoleOwner(), self._end)
        self.sent: list[bytes] = []

    def _end(self) -> None:
        self.ended = True

    async def publish(self, *keys: str, priority: int = 5, expires_at: datetime | None = None) -> list[bytes]:
        bodies = [
            Event(
                type="a.b",
                id=f"{key}-{len(self.sent) + n}",
                correlation_id=key,
                priority=priority,
                expires_at=expires_at,
            ).encode()
            for n, key in enumerate(keys)
        ]
        self.sent += bodies
        await self.log.append([NewRecord(0, priority, None, body) for body in bodies])
        for entry in await self.log.read([(0, priority)], 100):
            self.settler.hold(entry)
            entry.outstanding += 1
            for offset, body in enumerate(entry.bodies):
                position = Position(entry.first.generation, entry.first.sequence + offset)
                self.dispatch.offer(entry, position, body, Head.of(body))
            self.settler.release(entry)
        await self.turn()
        return bodies

    async def turn(self) -> None:
        """Let what was asked for happen: pumps, steps, fetches."""
        for _ in range(20):
            await asyncio.sleep(0)
        await self.settler.quiet()
        for _ in range(5):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.dispatch.tick(self.clock.monotonic())
        await self.turn()

    async def pending(self) -> int:
        return sum((await self.log.backlog([0]))[0].values())


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Bench]]:
    benches: list[tuple[Bench, asyncio.Task[None]]] = []

    def build(spec: SubscriptionSpec = SPEC) -> Bench:
        bench = Bench(spec)
        benches.append((bench, asyncio.create_task(bench.settler.run())))
        return bench

    yield build
    for _, task in benches:
        task.cancel()
    await asyncio.gather(*(task for _, task in benches), return_exceptions=True)


async def test_an_acknowledged_event_leaves_the_log(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 10)
    bodies = await bench.publish("k1", "k2")

    assert taker.bodies == bodies
    assert await bench.pending() == 1
    assert holder.settle(Settlement(ack=[d.delivery_id for d in taker.got])) == []
    await bench.turn()

    assert await bench.pending() == 0
    assert bench.settler.unsettled_events == 0


async def test_events_of_one_key_come_one_after_another(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 10)
    bodies = await bench.publish("k1", "k1", "k2", "k1")

    assert taker.bodies == [bodies[0], bodies[2]]
    holder.settle(Settlement(ack=[taker.got[0].delivery_id]))
    await bench.turn()
    assert taker.bodies == [bodies[0], bodies[2], bodies[1]]


async def test_ordering_none_does_not_hold_anything_back(make: Callable[..., Bench]) -> None:
    bench, taker = make(replace(SPEC, ordering="none")), Taker()
    bench.dispatch.attach(taker, 10)

    bodies = await bench.publish("k1", "k1", "k1")

    assert taker.bodies == bodies


async def test_credit_bounds_what_a_consumer_holds(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 2)
    await bench.publish(*[f"k{n}" for n in range(5)])

    assert len(taker.got) == 2
    holder.add_credit(1)
    await bench.turn()
    assert len(taker.got) == 3


async def test_higher_priorities_overtake(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 0)
    low = await bench.publish("k1", "k2", priority=1)
    high = await bench.publish("k3", priority=9)
    holder.add_credit(3)
    await bench.turn()

    assert taker.bodies == high + low


async def test_a_failed_event_waits_and_holds_back_only_its_key(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 100)
    bodies = await bench.publish("k1", "k1")
    holder.settle(Settlement(nack=[Nack(taker.got[0].delivery_id, None, "no")]))
    await bench.turn()
    assert await bench.pending() == 0, "the lane spilled, so the ingest stream lets go"
    later = await bench.publish("k2")

    assert taker.bodies == [bodies[0], later[0]]
    await bench.advance(9.9)
    assert len(taker.got) == 2
    await bench.advance(0.2)
    assert [d.attempt for d in taker.got] == [1, 1, 2]
    holder.settle(Settlement(ack=[taker.got[1].delivery_id, taker.got[2].delivery_id]))
    await bench.turn()
    assert taker.bodies[3] == bodies[1]
    holder.settle(Settlement(ack=[taker.got[3].delivery_id]))
    await bench.turn()
    assert (await bench.log.load(0)).queued == {}
    assert bench.dispatch.window.backlog == 0


async def test_after_the_last_attempt_an_event_is_a_dead_letter_and_its_key_goes_on(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 100)
    bodies = await bench.publish("k1", "k1")
    for _ in range(3):
        holder.settle(Settlement(nack=[Nack(taker.got[-1].delivery_id, None, "no way")]))
        await bench.advance(100)

    assert [(x.reason, x.error, x.attempts, x.body) for x in bench.letters.all] == [
        ("attempts", "no way", 3, bodies[0])
    ]
    assert taker.bodies[-1] == bodies[1]


async def test_a_rejected_event_is_a_dead_letter_at_once(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 100)
    await bench.publish("k1")
    holder.settle(Settlement(reject=[Nack(taker.got[0].delivery_id, error="not mine")]))
    await bench.turn()

    assert [(x.reason, x.error) for x in bench.letters.all] == [("rejected", "not mine")]
    assert await bench.pending() == 0


async def test_no_acknowledgement_in_time_counts_as_a_failure_and_extending_helps(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 100)
    await bench.publish("k1", "k2")
    await bench.advance(20)
    assert holder.settle(Settlement(extend=[taker.got[0].delivery_id])) == []
    await bench.advance(11)

    assert holder.settle(Settlement(ack=[d.delivery_id for d in taker.got])) == [taker.got[1].delivery_id]
    await bench.advance(10)
    assert [d.attempt for d in taker.got] == [1, 1, 2]
    assert taker.got[2].body == taker.got[1].body


async def test_a_consumer_may_not_settle_what_another_holds(make: Callable[..., Bench]) -> None:
    bench, one, two = make(), Taker(), Taker()
    first, second = bench.dispatch.attach(one, 1), bench.dispatch.attach(two, 1)
    await bench.publish("k1", "k2")
    assert len(one.got) == len(two.got) == 1

    assert second.settle(Settlement(ack=[one.got[0].delivery_id])) == [one.got[0].delivery_id]
    assert first.settle(Settlement(ack=[one.got[0].delivery_id])) == []


async def test_what_a_consumer_held_when_it_left_goes_to_the_others_in_order(make: Callable[..., Bench]) -> None:
    bench, one, two = make(), Taker(), Taker()
    first = bench.dispatch.attach(one, 3)
    bodies = await bench.publish("k1", "k2", "k3")
    bench.dispatch.attach(two, 10)
    first.detach()
    first.detach()
    await bench.turn()

    assert two.bodies == bodies
    assert [d.attempt for d in two.got] == [2, 2, 2]


async def test_a_backlog_beyond_memory_waits_in_the_queue_and_comes_in_order(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MEMORY_EVENTS", 50)
    bench, taker = make(), Taker()
    bodies: list[bytes] = []
    for _ in range(10):
        bodies += await bench.publish(*[f"k{n}" for n in range(100)])
    await bench.advance(3)
    assert await bench.pending() == 0
    assert bench.dispatch.window.held == 0, "nobody is there, so nothing is held in memory"
    assert (await bench.log.load(0)).queued == {next(iter(await _lanes(bench))): 1000}

    holder = bench.dispatch.attach(taker, 20)
    at = 0
    while at < 1000:
        await bench.turn()
        assert len(taker.got) > at, "deliveries go on"
        assert bench.dispatch.window.held <= window.LANE_EVENTS + 64
        holder.settle(Settlement(ack=[d.delivery_id for d in taker.got[at:]]))
        holder.add_credit(len(taker.got) - at)
        at = len(taker.got)
    await bench.turn()

    assert sorted(taker.bodies) == sorted(bodies)
    for key in range(100):
        mark = b'"correlation_id":"k%d"' % key
        assert [b for b in taker.bodies if mark in b] == [b for b in bodies if mark in b]
    assert (await bench.log.load(0)).queued == {}


async def test_a_queue_is_read_once_when_its_consumer_is_quick(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, taker = make(), Taker()
    for n in range(0, 3000, 100):
        await bench.publish(*[f"k{number // 12}-{number % 4}" for number in range(n, n + 100)])
    await bench.advance(3)
    await bench.advance(0)
    read = 0
    fetch = bench.log.fetch

    async def counted(wants: Sequence[tuple[LaneKey, bytes, int]]) -> list[list[Spilled]]:
        nonlocal read
        found = await fetch(wants)
        read += sum(map(len, found))
        return found

    monkeypatch.setattr(bench.log, "fetch", counted)
    holder = bench.dispatch.attach(taker, 1000)
    settled = 0
    while settled < 3000:
        await bench.advance(0.05)
        fresh = [d.delivery_id for d in taker.got[settled:]]
        holder.settle(Settlement(ack=fresh))
        holder.add_credit(len(fresh))
        settled += len(fresh)

    assert sorted(taker.bodies) == sorted(bench.sent)
    assert read <= 3000 * 1.1


async def test_a_hot_key_that_is_stuck_does_not_hold_up_the_rest_of_a_long_queue(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    for n in range(12):
        await bench.publish(*["hot"] * 99, f"cold-{n}")
    await bench.advance(3)
    await bench.advance(0)
    assert bench.dispatch.window.held == 0, "all of it is read back from the queue"
    holder = bench.dispatch.attach(taker, 1000)
    await bench.turn()
    stuck = taker.got[0].delivery_id
    settled = {stuck}
    for _ in range(40):
        fresh = [d.delivery_id for d in taker.got if d.delivery_id not in settled]
        holder.settle(Settlement(ack=fresh))
        settled.update(fresh)
        await bench.advance(0.2)
    assert sum(b'"cold-' in d.body.split(b'"correlation_id":')[1] for d in taker.got) == 12

    holder.settle(Settlement(ack=[stuck]))
    await bench.turn()
    while len(taker.got) < 1200:
        fresh = [d.delivery_id for d in taker.got if d.delivery_id not in settled]
        assert fresh, f"stuck after {len(taker.got)}"
        holder.settle(Settlement(ack=fresh))
        holder.add_credit(len(fresh))
        settled.update(fresh)
        await bench.turn()

    hot = [d.body for d in taker.got if b'"correlation_id":"hot"' in d.body]
    assert hot == [b for b in bench.sent if b'"correlation_id":"hot"' in b]


async def test_a_slow_consumer_lets_the_ingest_stream_go(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 10)
    await bench.publish("k1", "k2")
    await bench.advance(3)

    assert await bench.pending() == 0
    assert holder.settle(Settlement(ack=[d.delivery_id for d in taker.got])) == []
    await bench.turn()
    assert (await bench.log.load(0)).queued == {}
    later = await bench.publish("k1")
    assert taker.bodies[-1:] == later
    assert (await bench.log.load(0)).queued == {}, "the lane is live again"


async def test_when_the_node_can_hold_no_more_a_subscription_that_settles_nothing_spills(
    make: Callable[..., Bench],
) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 10)
    await bench.publish("k1", "k2")
    bench.dispatch.yield_room()
    await bench.turn()
    assert await bench.pending() > 0, "it may have settled something since it was last asked"
    holder.settle(Settlement(ack=[taker.got[0].delivery_id]))

    bench.dispatch.yield_room()
    await bench.turn()
    assert await bench.pending() > 0, "it did"
    bench.dispatch.yield_room()
    await bench.turn()

    assert await bench.pending() == 0
    assert holder.settle(Settlement(ack=[taker.got[1].delivery_id])) == []


async def test_an_ephemeral_subscription_drops_what_its_policy_says_and_ends_with_its_consumer(
    make: Callable[..., Bench],
) -> None:
    bench, taker = make(replace(SPEC, durable=False, buffer=2, overflow="drop_oldest")), Taker()
    holder = bench.dispatch.attach(taker, 0)
    bodies = await bench.publish("k1", "k2", "k3")
    assert await bench.pending() == 0, "a live tail holds nothing in the log"
    holder.add_credit(10)
    await bench.turn()

    assert taker.bodies == bodies[1:]
    assert bench.dispatch.dropped == 1
    holder.detach()
    assert bench.ended


async def test_losing_the_partition_forgets_without_settling(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 10)
    await bench.publish("k1")

    bench.dispatch.lose(0)

    assert holder.settle(Settlement(ack=[taker.got[0].delivery_id])) == [taker.got[0].delivery_id]
    assert await bench.pending() == 1
    assert bench.dispatch.window.held == 0


async def _lanes(bench: Bench) -> list[object]:
    return list((await bench.log.load(0)).queued)


async def test_a_key_stays_with_its_consumer_and_waits_for_it(make: Callable[..., Bench]) -> None:
    bench = make()
    takers = [Taker(), Taker()]
    holders = [bench.dispatch.attach(taker, 1) for taker in takers]
    keys = [f"k{n}" for n in range(12)]
    await bench.publish(*keys)
    for _ in keys:
        for taker, holder in zip(takers, holders, strict=True):
            holder.settle(Settlement(ack=[d.delivery_id for d in taker.got]))
            holder.set_credit(1)
        await bench.turn()
    await bench.publish(*keys)
    for _ in keys:
        for taker, holder in zip(takers, holders, strict=True):
            holder.settle(Settlement(ack=[d.delivery_id for d in taker.got]))
            holder.set_credit(1)
        await bench.turn()

    seen = [{orjson.loads(body)["correlation_id"] for body in taker.bodies} for taker in takers]
    assert seen[0] | seen[1] == set(keys)
    assert seen[0].isdisjoint(seen[1]), "no key went to both"
    assert all(seen), "both took part"


async def test_the_keys_of_a_consumer_that_goes_go_to_the_others(make: Callable[..., Bench]) -> None:
    bench, first, second = make(), Taker(), Taker()
    leaving = bench.dispatch.attach(first, 1)
    bench.dispatch.attach(second, 100)
    bodies = await bench.publish(*[f"k{n}" for n in range(20)])
    assert 1 <= len(first.got) + len(second.got) < 20, "one waits for credit that the other has"

    leaving.detach()
    await bench.turn()
    assert sorted(second.bodies) == sorted(bodies)


async def test_lower_priorities_have_their_share(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 0)
    await bench.publish(*[f"high-{n}" for n in range(40)], priority=9)
    await bench.publish("low", priority=0)
    holder.add_credit(10)
    await bench.turn()

    assert any(b'"low"' in body for body in taker.bodies), "one turn in ten is the lowest level's"


async def test_what_waits_long_makes_room_for_other_keys(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "CROWDED_EVENTS", 2)
    monkeypatch.setattr(window, "LANE_EVENTS", 8)
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 1000)
    failing = [f"bad{n}" for n in range(30)]
    for key in failing:
        await bench.publish(key, key)
        holder.settle(Settlement(nack=[Nack(taker.got[-1].delivery_id, 50, "no")]))
        await bench.turn()
    good = await bench.publish("good")

    assert taker.bodies[-1] == good[0], "thirty keys that wait hold up nobody else"
    assert bench.dispatch.window.held <= 8
    holder.settle(Settlement(ack=[taker.got[-1].delivery_id]))
    del taker.got[:]
    settled: list[bytes] = []
    for _ in range(200):
        holder.set_credit(1000)
        await bench.advance(1)
        settled += taker.bodies
        holder.settle(Settlement(ack=[d.delivery_id for d in taker.got]))
        del taker.got[:]
        await bench.turn()
    assert sorted(settled) == sorted(body for body in bench.sent if body != good[0]), (
        "each came again, and its follower"
    )
    for key in failing:
        assert [body for body in settled if f'"{key}"'.encode() in body] == [
            body for body in bench.sent if f'"{key}"'.encode() in body
        ]
    assert bench.dispatch.window.backlog == 0


HALTING = replace(SPEC, on_dead_letter="halt")


async def halted(bench: Bench) -> Taker:
    """Have the first of two events of k1 given up, and those of k2 acknowledged."""
    taker = Taker()
    holder = bench.dispatch.attach(taker, 1000)
    await bench.publish("k1", "k1")
    holder.settle(Settlement(reject=[Nack(taker.got[0].delivery_id, None, "poison")]))
    await bench.turn()
    await bench.publish("k2", "k1")
    holder.settle(Settlement(ack=[taker.got[-1].delivery_id]))
    await bench.advance(100_000)
    return taker


async def test_a_key_whose_event_was_given_up_halts(make: Callable[..., Bench]) -> None:
    bench = make(HALTING)
    taker = await halted(bench)

    assert taker.bodies == [bench.sent[0], bench.sent[2]], "nothing more of k1, and k2 goes on"
    (letter,) = bench.letters.all
    assert (letter.reason, letter.error, letter.body) == ("rejected", "poison", bench.sent[0])
    assert letter.queue_id
    assert bench.dispatch.window.held == 0, "it waits in its queue"
    assert bench.dispatch.window.backlog == 3


@pytest.mark.parametrize("anew", [False, True])
async def test_a_halted_key_goes_on_in_order_when_its_letter_is_replayed(
    make: Callable[..., Bench], anew: bool
) -> None:
    bench = make(HALTING)
    taker = await halted(bench)
    if anew:  # as on the next owner
        bench.dispatch.lose(0)
        bench.dispatch.resume(0, await bench.log.load(0))
        await bench.turn()
        assert len(taker.got) == 2
    del taker.got[:]
    assert bench.dispatch.window.release(0, 5, bench.letters.all[0].queue_id.encode())
    for _ in range(3):
        await bench.turn()
        for holder in bench.dispatch.holders:
            holder.settle(Settlement(ack=[d.delivery_id for d in taker.got]))
    await bench.turn()

    assert taker.bodies == [bench.sent[0], bench.sent[1], bench.sent[3]]
    assert [d.attempt for d in taker.got] == [1, 1, 1]
    assert (await bench.log.load(0)).queued == {}


@pytest.mark.parametrize("anew", [False, True])
async def test_a_halted_key_goes_on_without_an_event_that_is_purged(make: Callable[..., Bench], anew: bool) -> None:
    bench = make(HALTING)
    taker = await halted(bench)
    if anew:
        bench.dispatch.lose(0)
        bench.dispatch.resume(0, await bench.log.load(0))
        await bench.turn()
    del taker.got[:]
    assert bench.dispatch.window.drop(0, 5, bench.letters.all[0].queue_id.encode())
    assert not bench.dispatch.window.drop(0, 5, bench.letters.all[0].queue_id.encode()), "only once"
    for _ in range(3):
        await bench.turn()
        for holder in bench.dispatch.holders:
            holder.settle(Settlement(ack=[d.delivery_id for d in taker.got]))
    await bench.turn()

    assert taker.bodies == [bench.sent[1], bench.sent[3]]
    assert (await bench.log.load(0)).queued == {}


async def test_a_paused_subscription_keeps_what_comes(make: Callable[..., Bench]) -> None:
    bench, taker = make(), Taker()
    holder = bench.dispatch.attach(taker, 100)
    before = await bench.publish("k1")
    bench.dispatch.change(replace(SPEC, paused=True))
    holder.settle(Settlement(ack=[taker.got[0].delivery_id]))
    later = await bench.publish("k1", "k2", "k2")
    await bench.advance(5)
    await bench.advance(1)
    assert taker.bodies == before, "what was under way is settled, nothing new begins"
    assert await bench.pending() == 0, "the lanes spilled"
    assert bench.dispatch.window.held == 0

    bench.dispatch.change(SPEC)
    await bench.turn()
    assert taker.bodies == [*before, later[0], later[1]]


async def test_an_expired_event_is_not_delivered_and_lets_its_key_go_on(make: Callable[..., Bench]) -> None:
    notes: list[Attempt] = []
    bench, taker = make(), Taker()
    bench.dispatch._journal = Notes(notes)
    holder = bench.dispatch.attach(taker, 0)
    bodies = await bench.publish("k1", expires_at=datetime.fromtimestamp(1005, UTC))
    bodies += await bench.publish("k1")
    await bench.advance(6)
    holder.add_credit(10)
    await bench.turn()

    assert taker.bodies == [bodies[1]]
    assert bench.dispatch.expired == 1
    assert bench.letters.all == []
    assert [(note.outcome, note.event_id) for note in notes] == [("expired", orjson.loads(bodies[0])["id"])]


async def test_every_attempt_is_noted(make: Callable[..., Bench]) -> None:
    notes: list[Attempt] = []
    bench, taker = make(), Taker()
    bench.dispatch._journal = Notes(notes)
    holder = bench.dispatch.attach(taker, 10)
    await bench.publish("k1")
    bench.clock.advance(0.25)
    remarks = {taker.got[-1].delivery_id: Remark(503, "try later")}
    holder.settle(Settlement(nack=[Nack(taker.got[-1].delivery_id, 0, "no")], remarks=remarks))
    await bench.turn()
    await bench.advance(31)
    await bench.advance(100)
    holder.settle(Settlement(ack=[taker.got[-1].delivery_id]))

    assert [(n.attempt, n.outcome, n.status, n.error, n.response) for n in notes] == [
        (1, "failed", 503, "no", "try later"),
        (2, "timed_out", None, "no acknowledgement within 30 s", ""),
        (3, "acked", None, "", ""),
    ]
    assert notes[0].latency_ms == 250
    assert not any(note.dead for note in notes)
