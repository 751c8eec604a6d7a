"""The queue in memory against a plain sorted dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_node.log.memory_queue import MemoryQueue
from router_node.log.port import NOWHERE, Spilled


def spilled(n: int) -> Spilled:
    return Spilled(b"%020d" % n, NOWHERE, n, b"body")


@given(st.lists(st.one_of(st.just("add"), st.integers(0, 400), st.tuples(st.integers(0, 400), st.integers(1, 9)))))
def test_it_holds_what_a_dictionary_holds(todo: list[object]) -> None:
    queue, model = MemoryQueue(), dict[bytes, Spilled]()
    added = 0
    for what in todo:
        if what == "add":
            added += 1
            queue.add(spilled(added))
            model[b"%020d" % added] = spilled(added)
        elif isinstance(what, int):
            assert queue.pop(b"%020d" % what) == model.pop(b"%020d" % what, None)
        elif isinstance(what, tuple):
            after, count = what
            expected = [event for queue_id, event in model.items() if queue_id > b"%020d" % after][:count]
            assert queue.after(b"%020d" % after, count) == expected
        assert len(queue) == len(model)
        assert list(queue) == list(model.values())
