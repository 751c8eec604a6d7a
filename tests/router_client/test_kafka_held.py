"""What a member of a consumer group holds: order per key, and offsets that pass nothing unsettled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router_client.transports.kafka_held import Held, Item

TIMEOUT_S = 30.0


def item(offset: int, key: str | None = None, partition: int = 0) -> Item:
    record: Any = SimpleNamespace(topic="t", partition=partition, offset=offset)
    return Item(record, {"id": f"{offset}"}, key)


def test_offsets_pass_only_what_is_settled_in_a_row() -> None:
    held = Held()
    items = [item(n) for n in range(10, 14)]
    for each in items:
        held.add(each)
    assert held.offsets() == {("t", 0): 10}
    held.settle(items[1])
    held.settle(items[2])
    assert held.offsets() == {("t", 0): 10}
    held.settle(items[0])
    assert held.offsets() == {("t", 0): 13}
    held.skip(("t", 0), 14)
    assert held.offsets() == {("t", 0): 13}
    held.settle(items[3])
    assert held.offsets() == {("t", 0): 15}


def test_a_key_waits_for_its_retry_and_another_does_not() -> None:
    held = Held()
    for n, key in enumerate("aab"):
        held.add(item(n, key))
    first, other = held.take(10, 0.0, TIMEOUT_S)
    assert (first.record.offset, other.record.offset) == (0, 2)
    assert held.back(first.delivery_id) is first
    held.retry(first, 5.0)
    assert held.take(10, 4.9, TIMEOUT_S) == []
    assert held.next_retry_at() == 5.0
    assert held.take(10, 5.0, TIMEOUT_S) == [first]
    assert first.attempt == 2


def test_a_settlement_of_an_earlier_attempt_settles_nothing() -> None:
    held = Held()
    held.add(item(0))
    (taken,) = held.take(1, 0.0, TIMEOUT_S)
    stale = taken.delivery_id
    held.back(stale)
    held.retry(taken, 0.0)
    held.take(1, 0.0, TIMEOUT_S)
    assert held.back(stale) is None
    assert held.in_flight == 1


def test_a_delivery_is_overdue_after_its_time_unless_it_was_extended() -> None:
    held = Held()
    for n in range(3):
        held.add(item(n))
    first, second, third = held.take(3, 0.0, TIMEOUT_S)
    held.extend(first.delivery_id, 50.0)
    held.extend("nobody's", 50.0)
    assert held.overdue(29.9) == []
    assert held.overdue(30.0) == [second.delivery_id, third.delivery_id]


class Holding(RuleBasedStateMachine):
    """Held against the simplest account of it: sets and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Held()
        self.now = 0.0
        self.next = {0: 0, 1: 0}
        self.unsettled: dict[tuple[int, int], Item] = {}
        self.out: list[Item] = []
        self.seen: dict[str, list[int]] = {}

    @rule(partition=st.sampled_from([0, 1]), key=st.sampled_from([None, "a", "b"]))
    def add(self, partition: int, key: str | None) -> None:
        name = None if key is None else f"{key}{partition}"
        new = item(self.next[partition], name, partition)
        self.next[partition] += 1
        self.unsettled[partition, new.record.offset] = new
        self.held.add(new)

    @rule(most=st.integers(0, 3))
    def take(self, most: int) -> None:
        taken = self.held.take(most, self.now, TIMEOUT_S)
        assert len(taken) <= most
        for each in taken:
            assert each not in self.out
            if each.key is not None:
                assert all(each.key != other.key for other in self.out), "two of a key are out"
                offsets = self.seen.setdefault(each.key, [])
                if each.attempt == 1:
                    assert not offsets or each.record.offset > offsets[-1]
                    offsets.append(each.record.offset)
            self.out.append(each)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(self.out))
        self.out.remove(each)
        assert self.held.back(each.delivery_id) is each
        self.held.settle(each)
        del self.unsettled[each.record.partition, each.record.offset]

    @precondition(lambda self: self.out)
    @rule(data=st.data(), delay_s=st.floats(0, 5))
    def nack(self, data: st.DataObject, delay_s: float) -> None:
        each = data.draw(st.sampled_from(self.out))
        self.out.remove(each)
        assert self.held.back(each.delivery_id) is each
        self.held.retry(each, self.now + delay_s)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_unsettled_is_committed(self) -> None:
        for (_, partition), offset in self.held.offsets().items():
            open_ = [at for of, at in self.unsettled if of == partition]
            assert offset == min(open_, default=self.next[partition])
        assert len(self.held) == len(self.unsettled)
        assert self.held.in_flight == len(self.out)

    def teardown(self) -> None:
        """Everything comes out in the end."""
        for _ in range(3 * len(self.unsettled) + 1):
            self.now += 10
            self.take(3)
            for each in list(self.out):
                self.out.remove(each)
                self.held.settle(self.held.back(each.delivery_id) or each)
                del self.unsettled[each.record.partition, each.record.offset]
        assert not self.unsettled


TestHolding = Holding.TestCase
TestHolding.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
