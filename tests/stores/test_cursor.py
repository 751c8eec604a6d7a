"""Cursors: what we write we read, and nothing else."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router_client.errors import InvalidInput
from stores.cursor import read_cursor, write_cursor

# The first text of a fresh checkout is slow to draw: hypothesis makes its tables of Unicode then.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
places = st.tuples(st.integers(-(2**62), 2**62), st.text(st.characters(codec="utf-8", exclude_characters="\0")))


@patiently
@given(places)
def test_what_is_written_is_read(place: tuple[int, str]) -> None:
    assert read_cursor(write_cursor(*place)) == place


@patiently
@given(st.text() | st.text("ABCabc019-_=", max_size=12))
def test_other_text_is_refused_or_exactly_what_we_would_have_written(text: str) -> None:
    with suppress(InvalidInput):
        assert write_cursor(*read_cursor(text)) == text
