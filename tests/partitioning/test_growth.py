"""Finding a slot's partition while partitions are added, one parent at a time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from partitioning.growth import Plan, Routes, parents_of
from partitioning.slots import SLOTS, slot_table


@given(before=st.integers(1, 40), more=st.integers(1, 60), seed=st.integers(0, 999))
def test_a_slot_moves_when_its_parent_is_sealed_and_not_before(before: int, more: int, seed: int) -> None:
    after = before + more
    rng = random.Random(seed)
    sealed = {p for p in range(before) if rng.random() < 0.5}
    routes = Routes(before)
    for partition in sealed:
        routes.moved(partition, after)

    for slot in rng.sample(range(SLOTS), 200):
        old, new = slot_table(before).owners[slot], slot_table(after).owners[slot]
        assert routes.partition_of(slot) == ((new, after) if old in sealed else (old, before))

    routes.grown(after)
    for slot in rng.sample(range(SLOTS), 200):
        assert routes.partition_of(slot) == (slot_table(after).owners[slot], after)


def test_a_slot_is_followed_through_two_growths() -> None:
    routes = Routes(4)
    for partition in range(4):
        routes.moved(partition, 9)
    for partition in range(9):
        routes.moved(partition, 20)

    assert all(routes.partition_of(slot) == (slot_table(20).owners[slot], 20) for slot in range(0, SLOTS, 7))


def test_parents_are_the_partitions_a_new_one_is_made_of() -> None:
    plan = Plan(16, 64, ((4, 16), (16, 64)))

    assert plan.total == 64
    assert plan.parents(3) == frozenset()
    assert plan.parents(5) <= frozenset(range(4))
    assert plan.parents(40) <= frozenset(range(16))
    assert all(parents_of(16, 64)[child] for child in range(16, 64))
