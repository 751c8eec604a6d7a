"""Where a record goes while partitions are added, and whom to ask about its id."""

from __future__ import annotations

from partitioning.growth import Plan
from partitioning.slots import SLOTS, slot_table
from router_client.appending.placing import Placing
from router_client.appending.records import Moved, NewRecord

WINDOW_S = 120.0


def moving_slot() -> int:
    """Return a slot that moves when 4 partitions become 8."""
    return next(s for s in range(SLOTS) if slot_table(4).owners[s] != slot_table(8).owners[s])


def record(placing: Placing, slot: int) -> NewRecord:
    partition, table = placing.routes.partition_of(slot)
    return NewRecord(partition, 5, "id", b"{}", slot, table)


def test_a_record_is_sent_on_and_its_id_asked_about_where_it_was() -> None:
    slot = moving_slot()
    placing = Placing(Plan(4), WINDOW_S)
    before = record(placing, slot)
    assert placing.former(before) is None

    after = placing.relocate(before, Moved(before.partition, 8))

    assert (after.partition, after.table) == (slot_table(8).owners[slot], 8)
    assert record(placing, slot) == after
    assert placing.former(after) == before.partition
    assert placing.moved == 1


def test_the_former_partition_is_asked_for_a_window_after_the_growth_was_heard_of() -> None:
    slot, now = moving_slot(), [1000.0]
    placing = Placing(Plan(4), WINDOW_S, lambda: now[0])

    assert placing.learned(Plan(8, 0, ((4, 8),)))
    assert not placing.learned(Plan(8, 0, ((4, 8),)))

    assert placing.former(record(placing, slot)) == slot_table(4).owners[slot]
    now[0] += WINDOW_S + 1
    assert placing.former(record(placing, slot)) is None


def test_who_comes_after_a_growth_asks_for_a_window_too() -> None:
    slot, now = moving_slot(), [1000.0]
    placing = Placing(Plan(8, 0, ((4, 8),)), WINDOW_S, lambda: now[0])

    assert placing.former(record(placing, slot)) == slot_table(4).owners[slot]
    now[0] += WINDOW_S + 1
    assert placing.former(record(placing, slot)) is None
