"""Events in the order accepted, from ten streams that are read in any order."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_node.delivery.item import Head
from router_node.delivery.sequencer import InOrder, Sequencer
from router_node.delivery.watermark import Watermark
from router_node.log.port import NOWHERE, Entry, Position

HEAD = Head("e", "k", "a.b", 5)


def entry(priority: int, first: int, count: int = 1) -> Entry:
    return Entry(0, priority, b"%d" % first, Position(1, first), 0, [b"%d" % n for n in range(first, first + count)])


class Log:
    """Ten streams that are read a few entries at a time, into a sequencer."""

    def __init__(self) -> None:
        self.streams: list[deque[Entry]] = [deque() for _ in range(10)]
        self.appended = 0
        self.taken: list[int] = []
        self.released = 0
        self.sequencer = Sequencer(self._released)
        self.way_in = InOrder(self.sequencer, self)

    def offer(self, entry: Entry, position: Position, body: bytes, head: Head) -> None:
        self.taken.append(position.sequence)

    def _released(self, entry: Entry) -> None:
        entry.outstanding -= 1
        self.released += 1

    def append(self, priority: int, count: int) -> None:
        self.streams[priority].append(entry(priority, self.appended + 1, count))
        self.appended += count

    def read(self, priority: int, most: int) -> None:
        mark = self.sequencer.mark(0)
        asked_at, last, stream = mark.seen, NOWHERE, self.streams[priority]
        found = [stream.popleft() for _ in range(min(most, len(stream)))]
        for each in found:
            mark.saw(each.last)
            last = each.last
            for offset, body in enumerate(each.bodies):
                self.way_in.offer(each, Position(1, each.first.sequence + offset), body, HEAD)
        mark.read(priority, asked_at, last, drained=len(found) < most)
        self.sequencer.advance(0)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 9), st.integers(1, 4)),
        st.tuples(st.just("read"), st.integers(0, 9), st.integers(1, 3)),
    ),
    max_size=60,
)


@given(actions)
def test_whatever_is_read_first_everything_comes_in_order(todo: list[tuple[str, int, int]]) -> None:
    log = Log()
    for what, priority, count in todo:
        getattr(log, what)(priority, count)
        assert log.taken == list(range(1, len(log.taken) + 1)), "in order, without a gap"
    for _ in range(200):
        if len(log.taken) == log.appended:
            break
        for _, priority in log.sequencer.wanted() or [(0, each) for each in range(10)]:
            log.read(priority, 2)

    assert log.taken == list(range(1, log.appended + 1))
    assert log.released == log.appended
    assert len(log.sequencer) == 0
    assert log.sequencer.wanted() == []


def test_only_streams_that_may_hold_something_earlier_are_wanted() -> None:
    log = Log()
    log.append(0, 2)
    log.append(9, 1)
    log.read(9, 4)
    assert log.taken == []
    assert log.sequencer.wanted() == [(0, priority) for priority in range(9)]
    for priority in range(1, 10):
        log.read(priority, 4)
    assert log.sequencer.wanted() == [(0, 0)]
    log.read(0, 4)
    assert log.taken == [1, 2, 3]


def test_a_partition_that_is_lost_is_forgotten() -> None:
    log = Log()
    log.append(9, 1)
    log.read(9, 4)
    log.sequencer.lose(0)
    assert len(log.sequencer) == 0
    assert log.sequencer.mark(0).through == NOWHERE


def test_a_read_that_left_something_reaches_only_as_far_as_it_got() -> None:
    mark = Watermark()
    for priority in range(10):
        mark.read(priority, Position(1, 20), NOWHERE, drained=True)
    assert mark.through == Position(1, 20)
    mark.read(3, Position(1, 40), Position(1, 30), drained=False)
    assert mark.behind(Position(1, 30)) == [priority for priority in range(10) if priority != 3]


@pytest.mark.parametrize("generation", [1, 2])
def test_a_new_generation_comes_after_the_last(generation: int) -> None:
    mark = Watermark()
    mark.saw(Position(1, 100))
    mark.saw(Position(generation, 5))
    assert mark.seen == max(Position(1, 100), Position(generation, 5))
