"""The checker sees what it is there to see: a lost event, a wrong order, a repeat, a gap."""

from __future__ import annotations

from typing import Any

from partitioning.slots import slot_table
from tests.chaos.checker import Checker


def event(number: int, key: str = "k", priority: int = 5) -> dict[str, Any]:
    name = f"{key}.{priority}.{number}"
    return {"id": name, "correlation_id": key, "priority": priority, "payload": {"n": number}}


def checker_of(*events: dict[str, Any], subscriptions: tuple[str, ...] = ("s",)) -> Checker:
    checker = Checker(subscriptions, slot_table(4))
    checker.publishes(events)
    checker.acknowledged.update(each["id"] for each in events)
    return checker


def test_an_event_is_missing_until_every_subscription_has_it() -> None:
    checker = checker_of(event(0), subscriptions=("s", "t"))
    checker.delivered("s", event(0))
    assert checker.undelivered() == {"t": {"k.5.0"}}
    checker.delivered("t", event(0))
    assert checker.undelivered() == {}


def test_only_a_first_delivery_behind_a_younger_one_of_its_key_and_priority_is_out_of_order() -> None:
    checker = checker_of(event(0), event(1), event(2), event(0, "other"), event(0, priority=8))
    for each in (event(0), event(2), event(0), event(2), event(0, "other"), event(0, priority=8)):
        checker.delivered("s", each)
    assert checker.violations == []
    checker.delivered("s", event(1))
    assert checker.violations == ["s: k priority 5: first saw 1 after 2"]


def test_repeats_count_beyond_the_first_delivery_and_per_subscription() -> None:
    checker = checker_of(event(0), subscriptions=("s", "t"))
    for name in ("s", "t", "s", "s"):
        checker.delivered(name, event(0))
    assert checker.repeats == 2


def test_a_gap_lasts_to_the_next_delivery_of_its_partition_or_to_the_end() -> None:
    checker = checker_of(event(0))
    checker.delivered("s", event(0))
    (arrival,) = checker.arrivals
    gaps = {gap.partition: gap.seconds for gap in checker.longest_gaps(arrival.at - 1, arrival.at + 3)}
    assert round(gaps.pop(arrival.partition), 6) == 3
    assert {round(seconds, 6) for seconds in gaps.values()} == {4}


def test_a_strict_subscription_sees_a_key_in_order_over_its_priorities() -> None:
    def turn(number: int, turn: int, priority: int) -> dict[str, Any]:
        each = event(number, priority=priority)
        each["payload"]["turn"] = turn
        return each

    events = [turn(0, 1, 5), turn(0, 2, 8), turn(1, 3, 5)]
    checker = Checker(("s", "t"), slot_table(4), strict={"t"})
    checker.publishes(events)
    for name in ("s", "t"):
        for each in (events[1], events[0], events[2]):
            checker.delivered(name, each)
    assert checker.violations == ["t: k: first saw turn 1 after 2"]
