"""Slots and slot tables: fixed for ever (golden vectors), balanced, and moving no more than they must."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partitioning.slots import MAX_PARTITIONS, SLOTS, SlotTable, slot_of, slot_table

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "slots.json").read_text(encoding="utf-8"))
counts = st.integers(1, MAX_PARTITIONS)


def checksum(table: SlotTable) -> str:
    return sha256(b"".join(owner.to_bytes(2, "big") for owner in table.owners)).hexdigest()


def test_slots_of_the_golden_keys() -> None:
    assert {key: slot_of(key) for key in GOLDEN["slots"]} == GOLDEN["slots"]


def test_tables_of_the_golden_checksums() -> None:
    assert {count: checksum(slot_table(int(count))) for count in GOLDEN["tables"]} == GOLDEN["tables"]


@settings(deadline=None)
@given(st.text())
def test_a_slot_is_the_crc_of_the_utf8_bytes(key: str) -> None:
    assert slot_of(key) == crc32(key.encode("utf-8")) % 16_384
    assert 0 <= slot_of(key) < SLOTS


@settings(deadline=None, max_examples=30)
@given(st.text(), counts)
def test_a_keys_partition_is_its_slots_owner(key: str, count: int) -> None:
    table = slot_table(count)
    assert table.partition_of(key) == table.owners[slot_of(key)]
    assert slot_of(key) in table.slots_of(table.partition_of(key))


def test_every_table_is_balanced_within_one_slot() -> None:
    for count in (*range(1, 130), 255, 256, 257, 500, 999, 1000, 1023, 1024):
        held = Counter(slot_table(count).owners)
        assert set(held) == set(range(count)), count
        assert max(held.values()) - min(held.values()) <= 1, count


@settings(deadline=None, max_examples=30)
@given(counts, counts)
def test_growth_moves_only_what_the_new_partitions_hold(one: int, other: int) -> None:
    small, large = sorted((one, other))
    before, after = slot_table(small).owners, slot_table(large).owners
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert all(new >= small for new in moved), "a slot moved between two old partitions"
    # Old partitions keep the larger shares as far as there are any, so nothing balanced can move less.
    share, larger = divmod(SLOTS, large)
    assert len(moved) == SLOTS - small * share - min(small, larger)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, MAX_PARTITIONS))
def test_a_new_partition_takes_its_share_evenly(count: int) -> None:
    before, after = slot_table(count - 1).owners, slot_table(count).owners
    given_up = Counter(old for old, new in zip(before, after, strict=True) if new == count - 1)
    taken = [given_up[partition] for partition in range(count - 1)]
    assert sum(taken) == SLOTS // count
    assert max(taken) - min(taken) <= 2


def test_slots_of_names_each_slot_once() -> None:
    table = slot_table(7)
    assert sorted(slot for partition in range(7) for slot in table.slots_of(partition)) == list(range(SLOTS))
    assert table.slots_of(7) == ()


@pytest.mark.parametrize("count", [0, -1, 1025])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="partitions: from 1 to 1024"):
        slot_table(count)


def test_the_largest_table_is_quick_to_build() -> None:
    best = min(_seconds_to_build(MAX_PARTITIONS) for _ in range(3))
    assert best < 0.1


def _seconds_to_build(count: int) -> float:
    started = perf_counter()
    slot_table.__wrapped__(count)
    return perf_counter() - started
