from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client.errors import ConnectionLost, NotFound
from router_client.reconnect import Backoff, Reconnector
from tests.support.clock import FakeClock


@given(st.integers(1, 5000), st.floats(0, 1))
def test_a_wait_never_exceeds_the_ceiling_of_its_attempt(attempt: int, fraction: float) -> None:
    backoff = Backoff(base_s=0.1, factor=2, max_s=10)
    assert 0 <= backoff.delay(attempt, fraction) <= backoff.ceiling(attempt) <= 10


def test_the_ceiling_doubles_up_to_its_limit() -> None:
    backoff = Backoff(base_s=0.1, factor=2, max_s=0.5)
    assert [backoff.ceiling(n) for n in (1, 2, 3, 4, 5)] == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])


def test_jitter_covers_the_whole_range() -> None:
    backoff = Backoff(base_s=1, factor=2, max_s=10)
    assert (backoff.delay(2, 0.0), backoff.delay(2, 0.5), backoff.delay(2, 1.0)) == (0, 1, 2)


class Sessions:
    """Plays a list of outcomes, one a session: ``lost`` before it was of use, ``used`` and then lost, or ``end``."""

    def __init__(self, *outcomes: str, give_up_after_s: float | None = None) -> None:
        self.clock = FakeClock(0)
        self.waits: list[float] = []
        self._outcomes = list(outcomes)
        self.reconnector = Reconnector(
            Backoff(1, 2, 8), give_up_after_s, sleep=self._sleep, now=self.clock.monotonic, fraction=lambda: 1.0
        )

    async def session(self) -> None:
        match self._outcomes.pop(0):
            case "used":
                self.reconnector.succeeded()
                raise ConnectionLost("gone")
            case "lost":
                raise ConnectionLost("refused")
            case "missing":
                raise NotFound("no such thing")

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)


async def test_waits_grow_until_a_connection_was_of_use() -> None:
    sessions = Sessions("lost", "lost", "lost", "used", "lost", "end")
    await sessions.reconnector.run(sessions.session)
    assert sessions.waits == [1, 2, 4, 1, 2]
    assert sessions.reconnector.reconnects == 5


async def test_it_gives_up_when_the_time_is_over() -> None:
    sessions = Sessions("used", "lost", "lost", "lost", give_up_after_s=4)
    with pytest.raises(ConnectionLost, match="refused"):
        await sessions.reconnector.run(sessions.session)
    assert sessions.waits == [1, 2]


async def test_other_errors_end_it_at_once() -> None:
    sessions = Sessions("missing")
    with pytest.raises(NotFound):
        await sessions.reconnector.run(sessions.session)
    assert sessions.waits == []
