"""Placement: balanced within one, the same for any order of members, and moving little when one joins or leaves."""

from __future__ import annotations

import random
from collections import Counter
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st

from partitioning.placement import _ranking, place

names = st.text(min_size=1, max_size=12)
counts = st.integers(0, 200)


@settings(deadline=None)
@given(counts, st.sets(names, min_size=1, max_size=40))
def test_every_partition_is_placed_and_loads_differ_by_one_at_most(count: int, members: set[str]) -> None:
    owners = place(count, members)
    assert list(owners) == list(range(count))
    loads = Counter(owners.values())
    held = [loads[member] for member in members]
    assert sum(held) == count
    assert max(held) - min(held) <= 1


@settings(deadline=None)
@given(counts, st.lists(names, min_size=1, max_size=20), st.randoms())
def test_order_and_repetition_of_members_do_not_matter(count: int, members: list[str], shuffler: random.Random) -> None:
    shuffled = members + members[:3]
    shuffler.shuffle(shuffled)
    assert place(count, shuffled) == place(count, members)


def test_without_members_nothing_is_placed() -> None:
    assert place(64, []) == {}


def test_a_single_node_gets_everything() -> None:
    assert set(place(64, ["only"]).values()) == {"only"}


def test_the_placement_is_fixed_for_ever() -> None:
    """Nodes of different versions must agree while a cluster is upgraded."""
    owners = place(64, ["node-a", "node-b", "node-c", "node-d", "node-e", "node-f"])
    assert "".join(owner[-1] for owner in owners.values()) == (
        "fdcfbbedcbdabcaecccdedfcfebfaceeafababfdfebabfdcecdeddaadfaefbae"
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 128), st.sets(names, min_size=2, max_size=30))
def test_no_node_and_partition_would_rather_have_each_other(count: int, members: set[str]) -> None:
    owners = place(count, members)
    ranks = {m: {partition: rank for rank, partition in enumerate(_ranking(m, count))} for m in members}
    for member in members:
        worst = max((ranks[member][p] for p, owner in owners.items() if owner == member), default=-1)
        for partition, owner in owners.items():
            if ranks[member][partition] < ranks[owner][partition]:
                assert worst < ranks[member][partition], (member, partition)


def moved(count: int, members: list[str]) -> int:
    """How many partitions change hands when the last of ``members`` joins (or leaves: it is the same pair)."""
    without, joined = place(count, members[:-1]), place(count, members)
    return sum(without[partition] != joined[partition] for partition in range(count))


def test_a_newcomer_moves_at_most_1_6_times_its_share() -> None:
    rng = random.Random(16)
    total, ideal = 0, 0.0
    for count in (1, 10, 64, 256, 512, 768, 1024):
        for nodes in range(2, 101, 7):
            total += moved(count, [f"router-{rng.getrandbits(40)}" for _ in range(nodes)])
            ideal += count / nodes
    print(f"moved {total}, ideal {ideal:.0f}: {total / ideal:.2f} times")
    assert total <= 1.6 * ideal


def test_with_many_partitions_a_node_movement_is_near_its_share() -> None:
    rng = random.Random(64)
    cases = [(64, 3), (64, 4), (256, 5), (256, 8), (1024, 8), (1024, 16)]
    for count, nodes in cases:
        total = sum(moved(count, [f"router-{rng.getrandbits(40)}" for _ in range(nodes)]) for _ in range(10))
        assert total <= 1.6 * 10 * count / nodes, (count, nodes)


def test_the_largest_placement_is_quick() -> None:
    members = [f"router-{number}" for number in range(100)]
    started = perf_counter()
    place(1024, members)
    assert perf_counter() - started < 1
