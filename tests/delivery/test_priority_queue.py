from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_node.delivery.priority_queue import Offer, PriorityQueue


def test_higher_levels_first_and_first_in_first_out_within_one() -> None:
    queue: PriorityQueue[str] = PriorityQueue(10)
    for item, priority in [("a5", 5), ("a9", 9), ("b5", 5), ("a0", 0), ("b9", 9)]:
        queue.push(item, priority)

    assert [queue.pop() for _ in range(6)] == ["a9", "b9", "a5", "b5", "a0", None]


def test_a_lower_level_gets_its_share_under_a_flood_of_higher_ones() -> None:
    queue: PriorityQueue[int] = PriorityQueue(1000, share=10)
    for _ in range(5):
        queue.push(0, 0)
    served = []
    for _ in range(50):
        queue.push(9, 9)
        served.append(queue.pop())

    assert served.count(0) == 5


@given(st.sets(st.integers(0, 9), min_size=1), st.integers(0, 9), st.integers(0, 30))
def test_no_level_starves_whatever_the_others_are_flooded_with(flooded: set[int], waiting: int, turns: int) -> None:
    queue: PriorityQueue[str] = PriorityQueue(0, share=10)
    for turn in range(turns + 10 * 10):
        for level in flooded - {waiting}:
            queue.push("flood", level)
        if turn == turns:
            queue.push("waiting", waiting)
        if queue.pop() == "waiting":
            return
    raise AssertionError("it waited for more than ten turns of every level")


def test_what_was_given_back_goes_before_its_level() -> None:
    queue: PriorityQueue[str] = PriorityQueue(10)
    queue.push("b", 5)
    queue.push_front("a", 5)

    assert [queue.pop(), queue.pop()] == ["a", "b"]


def test_block_answers_full_and_keeps_everything() -> None:
    queue: PriorityQueue[int] = PriorityQueue(2, "block")

    assert [queue.offer(n, 5)[0] for n in range(3)] == [Offer.TAKEN, Offer.TAKEN, Offer.FULL]
    assert [queue.pop(), queue.pop()] == [0, 1]


def test_drop_newest_gives_up_the_newcomer() -> None:
    queue: PriorityQueue[int] = PriorityQueue(2, "drop_newest")

    assert [queue.offer(n, 5)[0] for n in range(3)] == [Offer.TAKEN, Offer.TAKEN, Offer.DROPPED]
    assert queue.dropped == 1
    assert [queue.pop(), queue.pop()] == [0, 1]


def test_drop_oldest_gives_up_the_oldest_of_the_lowest_level() -> None:
    queue: PriorityQueue[str] = PriorityQueue(3, "drop_oldest")
    for item, priority in [("high", 9), ("old", 2), ("young", 2)]:
        queue.push(item, priority)

    assert queue.offer("new", 5) == (Offer.TAKEN, "old")
    assert queue.offer("lower", 1) == (Offer.DROPPED, None)
    assert queue.clear() == ["young", "new", "high"]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=200),
    st.sampled_from(["block", "drop_oldest", "drop_newest"]),
    st.integers(1, 20),
)
def test_it_never_holds_more_than_its_capacity_and_loses_nothing_unaccounted(
    steps: list[tuple[bool, int]], overflow: str, capacity: int
) -> None:
    queue: PriorityQueue[int] = PriorityQueue(capacity, overflow)  # type: ignore[arg-type]
    inside: set[int] = set()
    for number, (is_offer, priority) in enumerate(steps):
        if is_offer:
            outcome, victim = queue.offer(number, priority)
            if outcome is Offer.TAKEN:
                inside.add(number)
            inside.discard(-1 if victim is None else victim)
        elif (item := queue.pop()) is not None:
            inside.remove(item)
        assert len(queue) == len(inside) == sum(queue.sizes().values()) <= capacity
    assert set(queue.clear()) == inside
