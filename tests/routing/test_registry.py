"""Which subscriptions of a registry are awake, and what one that wakes knows of what happened while it slept."""

from __future__ import annotations

from typing import Any

import pytest

from router_client.errors import Conflict, NotFound
from router_client.spec import SubscriptionSpec
from router_node.cluster.ownership import SoleOwner
from router_node.contract import Delivery
from router_node.delivery.item import Head
from router_node.delivery.sequencer import InOrder, Sequencer
from router_node.flow.deliver import REST_AFTER_S, Dispatch
from router_node.flow.settle import Settler
from router_node.log.memory import MemoryLog
from router_node.log.port import Entry, LaneKey, PartitionState, Position
from router_node.routing import registry as registry_module
from router_node.routing.registry import Registry
from router_node.routing.subscription import Subscription
from stores.ports import DeadLetter
from tests.support.clock import FakeClock

HEAD = Head("e", "k", "a.b", 5)


class NoLetters:
    async def add(self, letters: list[DeadLetter]) -> None:
        raise AssertionError(letters)


class Taker:
    """A consumer that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []

    def push(self, deliveries: list[Delivery]) -> None:
        self.got += deliveries

    def ended(self, error: Exception) -> None:
        raise AssertionError(error)


class Bench:
    """A registry of real dispatches, in time that is not real."""

    def __init__(self, *names: str, **members: Any) -> None:
        self.clock = FakeClock()
        log = MemoryLog(NoLetters())
        self.settler = Settler(log, log, lambda partition: None)
        self.sequencer = Sequencer(self.settler.release)
        self.made: list[Dispatch] = []
        self.registry = Registry(self._make, self.clock, self._way_in)
        for name in names:
            self.registry.put(SubscriptionSpec(name=name, topics=("a.>",), **members))

    def _make(self, spec: SubscriptionSpec) -> Dispatch:
        self.made.append(Dispatch(spec, self.settler, self.clock, SoleOwner(), lambda: None))
        return self.made[-1]

    def _way_in(self, subscription: Subscription) -> Any:
        return InOrder(self.sequencer, subscription) if subscription.strict else subscription.receiver

    @property
    def awake(self) -> list[str]:
        return [dispatch.spec.name for dispatch in self.registry]

    def offer(self, sequence: int, partition: int = 0) -> Entry:
        """Route an event of a partition to whoever subscribes."""
        entry = Entry(partition, 5, b"1-%d" % sequence, Position(1, sequence), 0, [b"{}"])
        for route in self.registry.match("a.b", dict):
            route.receiver.offer(entry, entry.first, b"{}", HEAD)
        return entry

    def all_read(self, partition: int, position: Position) -> None:
        """Have all streams of a partition read up to a position."""
        for priority in range(10):
            self.sequencer.mark(partition).read(priority, position, position, drained=True)
        self.sequencer.advance(partition)

    def rest(self, seconds: float = REST_AFTER_S + 1) -> list[str]:
        """Let time go by; returns who fell asleep."""
        self.clock.advance(seconds)
        for dispatch in self.registry:
            dispatch.tick(self.clock.monotonic())
        return [dispatch.spec.name for dispatch in self.registry.settle_down(self.clock.monotonic())]


async def test_what_only_asks_wakes_none() -> None:
    bench = Bench("one", "two")

    assert [spec.name for spec in bench.registry.specs()] == ["one", "two"]
    assert bench.registry.spec("one").topics == ("a.>",)
    assert "two" in bench.registry
    assert len(bench.registry) == 2
    assert bench.registry.if_awake("one") is None
    bench.registry.check("one")
    with pytest.raises(NotFound):
        bench.registry.check("three")
    bench.registry.put(SubscriptionSpec(name="one", topics=("c.>",)))
    bench.registry.resume(0, PartitionState())
    bench.registry.freeze(0)
    bench.registry.lose(0)
    assert bench.registry.awake == 0
    assert bench.made == []


async def test_an_event_wakes_those_it_matches_and_no_others() -> None:
    bench = Bench("one")
    bench.registry.put(SubscriptionSpec(name="other", topics=("b.>",)))

    entry = bench.offer(1)

    assert bench.awake == ["one"]
    assert entry.outstanding == 1
    assert bench.registry.get("one").window.backlog == 1


async def test_one_that_holds_something_or_has_consumers_stays_awake() -> None:
    bench = Bench("held", "taken")
    bench.registry.get("held").window.lane(0, 5).visits += 1
    holder = bench.registry.get("taken").attach(Taker(), 1)

    assert bench.rest() == []
    holder.detach()
    assert bench.rest(REST_AFTER_S) == []
    assert bench.rest(1) == ["taken"]
    assert bench.awake == ["held"]


async def test_one_without_consumers_that_events_come_for_wakes_once_and_spills_at_once() -> None:
    bench = Bench("one")
    bench.clock.advance(60)
    for sequence in range(5):
        bench.offer(sequence)
        assert bench.rest() == []

    assert len(bench.made) == 1
    assert bench.made[0].window.held == 0, "nobody has been there for a minute: nothing waits in memory for a consumer"


async def test_it_waits_in_memory_for_the_consumer_of_one_just_made() -> None:
    bench = Bench("one")
    bench.offer(1)
    taker = Taker()
    bench.registry.get("one").attach(taker, 1)
    bench.settler.pump()

    assert len(taker.got) == 1


async def test_marks_are_kept_while_their_partition_is() -> None:
    bench = Bench("one")
    marks = {LaneKey(3, "one", 5): Position(1, 10), LaneKey(3, "gone", 5): Position(1, 99)}
    bench.registry.resume(3, PartitionState(high_water=marks))
    assert bench.awake == []

    for _ in range(2):
        assert bench.offer(10, partition=3).outstanding == 0, "an earlier owner spilled it"
        assert bench.offer(10, partition=4).outstanding == 1
        bench.registry.lose(4)
        assert bench.rest() == ["one"]
    assert bench.offer(11, partition=3).outstanding == 1
    bench.registry.lose(3)
    assert bench.rest() == ["one"]

    assert bench.offer(10, partition=3).outstanding == 1, "the next tenure knows nothing of the marks of this one"


async def test_another_of_the_same_name_is_not_held_to_the_marks_of_the_one_before() -> None:
    bench = Bench("one")
    bench.registry.resume(3, PartitionState(high_water={LaneKey(3, "one", 5): Position(1, 10)}))
    bench.registry.remove("one")
    bench.registry.put(SubscriptionSpec(name="one", topics=("a.>",)))

    assert bench.offer(10, partition=3).outstanding == 1


async def test_what_is_in_its_queue_wakes_it_when_the_partition_is_taken_up() -> None:
    bench = Bench("one", "two")

    bench.registry.resume(3, PartitionState(queued={LaneKey(3, "one", 5): 7, LaneKey(3, "gone", 5): 1}))

    assert bench.awake == ["one"]
    assert bench.registry.get("one").window.backlog == 7
    assert bench.rest() == []


async def test_one_that_wakes_while_a_partition_is_handed_over_begins_nothing_from_it() -> None:
    bench = Bench("one")
    taker = Taker()
    bench.registry.freeze(3)
    bench.offer(1, partition=3)
    bench.registry.get("one").attach(taker, 1)
    bench.settler.pump()
    assert taker.got == []

    bench.registry.lose(3)
    bench.offer(1, partition=3)
    bench.settler.pump()

    assert len(taker.got) == 1


async def test_events_held_until_their_turn_reach_the_dispatch_there_is_then() -> None:
    bench = Bench("one", ordering="strict")
    bench.registry.get("one")
    bench.offer(2, partition=3)
    assert bench.rest() == ["one"]

    bench.all_read(3, Position(1, 2))

    first, second = bench.made
    assert (first.window.backlog, second.window.backlog) == (0, 1)
    assert bench.awake == ["one"]


async def test_events_held_for_one_that_has_ended_wake_nobody() -> None:
    bench = Bench("one", ordering="strict")
    entry = bench.offer(2, partition=3)
    bench.registry.remove("one")

    bench.all_read(3, Position(1, 2))

    assert bench.made == []
    assert entry.outstanding == 0


async def test_one_that_may_only_queue_stays_awake_until_it_may_deliver() -> None:
    bench = Bench("one")
    bench.registry.get("one").window.bar(3, 5)

    assert bench.rest() == []
    bench.registry.get("one").window.unbar(3, 5)
    assert bench.rest() == ["one"]


async def test_of_many_that_are_awake_some_are_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "LOOKED_AT_ONCE", 3)
    names = [f"s{n}" for n in range(8)]
    bench = Bench(*names)
    for name in names:
        bench.registry.get(name)
    bench.registry.get("s1").attach(Taker(), 1)

    asleep = [bench.rest(), bench.rest(0), bench.rest(0), bench.rest(0)]

    assert [len(each) for each in asleep[:3]] == [2, 3, 2]
    assert sorted(name for each in asleep for name in each) == ["s0", *(f"s{n}" for n in range(2, 8))]


async def test_a_change_reaches_one_that_sleeps_and_one_that_is_awake() -> None:
    bench = Bench("one", "two")
    bench.registry.get("two")

    for name in ("one", "two"):
        bench.registry.put(SubscriptionSpec(name=name, topics=("b.>",), paused=True))

    assert bench.awake == ["two"]
    assert bench.registry.get("two").spec.paused
    assert bench.registry.get("one").spec.paused
    assert bench.registry.match("a.b", dict) == []
    assert len(bench.registry.match("b.c", dict)) == 2


async def test_a_name_cannot_change_its_kind_and_a_removed_one_matches_nothing() -> None:
    bench = Bench("one")
    with pytest.raises(Conflict):
        bench.registry.put(SubscriptionSpec(name="one", topics=("a.>",), durable=False))

    assert bench.registry.remove("one") is None, "it slept"
    assert bench.registry.remove("one") is None
    assert bench.registry.match("a.b", dict) == []
    assert "one" not in bench.registry
