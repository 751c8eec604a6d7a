from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_client.spec import RetryPolicy
from router_node.delivery.retry import backoff_s


def test_it_doubles_up_to_the_longest() -> None:
    policy = RetryPolicy(base_s=1, factor=2, max_s=5, jitter=0)

    assert [backoff_s(policy, attempt, lambda: 0.5) for attempt in range(1, 6)] == [1, 2, 4, 5, 5]


def test_attempts_without_end_do_not_overflow() -> None:
    assert backoff_s(RetryPolicy(factor=10, jitter=0), 100_000, lambda: 0.5) == 300


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_jitter_stays_within_its_fraction(attempt: int, random: float, jitter: float) -> None:
    plain = backoff_s(RetryPolicy(jitter=0), attempt, lambda: 0.5)

    delay = backoff_s(RetryPolicy(jitter=jitter), attempt, lambda: random)
    assert plain * (1 - jitter) <= delay <= plain * (1 + jitter)
