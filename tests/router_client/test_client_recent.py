from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_client.recent import RecentIds
from tests.support.clock import FakeClock


def test_it_forgets_the_oldest_beyond_its_capacity() -> None:
    recent = RecentIds(2, 60)
    for event_id in ("a", "b", "a", "c"):
        recent.add(event_id)
    assert ["a" in recent, "b" in recent, "c" in recent] == [True, False, True]


def test_it_forgets_what_is_older_than_its_window() -> None:
    clock = FakeClock()
    recent = RecentIds(10, 60, clock.monotonic)
    recent.add("a")
    clock.advance(60)
    assert "a" in recent
    clock.advance(0.1)
    assert "a" not in recent
    assert len(recent) == 0


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=2), st.floats(0, 30))), st.integers(1, 5))
def test_it_holds_exactly_what_was_added_lately(steps: list[tuple[str, float]], capacity: int) -> None:
    clock = FakeClock()
    recent = RecentIds(capacity, 60, clock.monotonic)
    added: dict[str, float] = {}
    for event_id, pause in steps:
        clock.advance(pause)
        recent.add(event_id)
        added.pop(event_id, None)
        added[event_id] = clock.monotonic()
        newest = {key for key in list(added)[-capacity:] if clock.monotonic() - added[key] <= 60}
        assert {key for key in added if key in recent} == newest
        assert len(recent) == len(newest)
