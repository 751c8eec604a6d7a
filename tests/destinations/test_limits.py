"""The circuit breaker, the rate and Retry-After, by the clock of the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_node.destinations.breaker import FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker, State
from router_node.destinations.token_bucket import TokenBucket
from router_node.destinations.webhook_call import retry_after


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        assert not breaker.failed(10.0)
    assert not breaker.succeeded()
    for _ in range(FAILURES - 1):
        assert not breaker.failed(10.0)
    assert breaker.failed(10.0)
    assert breaker.state(10.0 + FIRST_PAUSE_S - 0.01) is State.OPEN
    assert breaker.state(10.0 + FIRST_PAUSE_S) is State.HALF_OPEN


def test_its_pauses_double_up_to_a_bound_and_a_success_closes_it() -> None:
    breaker, now, pauses = Breaker(), 0.0, []
    for _ in range(FAILURES):
        breaker.failed(now)
    for _ in range(10):
        reopens_at = breaker.reopens_at()
        assert reopens_at is not None
        pauses.append(reopens_at - now)
        now = reopens_at
        assert breaker.failed(now)
    assert pauses[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert breaker.succeeded()
    assert breaker.state(now) is State.CLOSED


def test_failures_of_calls_that_were_under_way_do_not_lengthen_the_pause() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(0.0)
    assert not breaker.failed(0.5)
    assert breaker.reopens_at() == FIRST_PAUSE_S


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 2), min_size=1, max_size=100))
def test_no_more_tokens_than_the_rate_and_a_second_ahead(rate: float, steps: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        available = bucket.available(now)
        bucket.take(available)
        taken += available
        assert bucket.next_at(now) >= now
    assert taken <= now * rate + max(1.0, rate) + 1e-6


def test_without_a_rate_there_is_no_bound() -> None:
    bucket = TokenBucket(None, 0.0)
    bucket.take(10**9)
    assert bucket.available(0.0) > 10**9
    assert bucket.next_at(5.0) == 5.0


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("7", 7),
        (" 7 ", 7),
        ("999999", 3600),
        ("-5", 0),
        ("soon", 0),
        ("1e3", 0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0),
        ("Tue, 14 Nov 2033 22:13:10 GMT", 3600),
        ("9" * 50, 0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds
